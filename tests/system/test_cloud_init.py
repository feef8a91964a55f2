"""The real cloud-init in a real Debian: what the seed says comes true, stays, and is taken up anew.

Without KVM a boot takes minutes, so it is asked for: scripts/test-cloud-init.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guests import cache_directory, debian_image
from vmops.lab import Lab

from .lab_helpers import wait_until
from .net_guests import NO_CHECKSUMS
from .operator import Operator

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("VMOPS_TEST_CLOUD_INIT"), reason="takes long: scripts/test-cloud-init"
    ),
    pytest.mark.timeout(2000),
]

BOOT_LIMIT_S = 900
ENDED = "vmops: cloud-init has ended with 0 in "


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Iterator[Operator]:
    """Somebody with a key of his own, and two Debians that boot."""
    folder = tmp_path_factory.mktemp("operator")
    somebody = Operator(lab, folder)
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")]
    subprocess.run(key, check=True, timeout=30)
    (folder / "own.yaml").write_text(
        "#cloud-config\nwrite_files:\n- path: /etc/told\n  content: by hand\n"
    )
    write(somebody)
    somebody.ok("up")
    yield somebody
    somebody.ok("destroy", "--vm", "deb*", "--force", "--yes")
    for worker in ("worker1", "worker2"):
        somebody.ok("image.remove", "--worker", worker, "--image", "debian", "--yes")


def write(operator: Operator, more: str = "") -> None:
    head = operator.lab.inventory.read_text().partition("\n[vms.")[0]
    image = json.dumps(str(debian_image(cache_directory())))
    vms = [
        f"[vms.deb{n}]\nvm_id = 7{n}\nvnc_port = 597{n}\nworker = 'worker{n}'\n"
        f"interfaces = [{{ name = 'lan0', vlan_id = 77, model = 'virtio',"
        f" address = '192.168.7.{n}/24' }}]\n"
        for n in (1, 2)
    ]
    operator.hosts_toml.write_text(
        f"{head}\n[images.debian]\nfile = {image}\n"
        "[vm_defaults]\nram_mb = 384\ncores = 1\nimage = 'debian'\ndisk_gb = 3\n"
        "cloud_init = { users = [{ name = 'ops', ssh_keys = ['key.pub'] }"
        f"{more}], user_data = 'own.yaml' }}\n" + "".join(vms)
    )


def ready(operator: Operator, vms: str) -> None:
    """`wait --state ready`, several times: a command of the tests has less time than a boot."""

    def is_ready() -> bool:
        said = operator.fab("wait", "--vm", vms, "--state", "ready", "--timeout", "60")
        assert said.code == 0 or "is not ready after" in said.err, said
        return said.code == 0

    wait_until(is_ready, seconds=BOOT_LIMIT_S)


def inside(operator: Operator, vm: str, command: str) -> str:
    return operator.ok("exec", "--vm", vm, "--timeout", "60", "--", "sh", "-c", command).out


def ended(operator: Operator, vm: str) -> int:
    return operator.ok("logs", "--vm", vm, "--lines", "100000").out.count(ENDED)


IDENTITY = "cat /var/lib/cloud/data/instance-id /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id"


def test_what_the_seed_says_comes_true(operator: Operator) -> None:
    ready(operator, "deb*")
    for n in (1, 2):
        vm = f"deb{n}"
        assert inside(operator, vm, "hostname") == f"{vm}\n"
        (told,) = operator.ok("cloud-init.show", "--vm", vm, "--format", "json").json
        identity = inside(operator, vm, "cat /var/lib/cloud/data/instance-id")
        assert identity.strip() == told["instance_id"]
        assert f"192.168.7.{n}/24" in inside(operator, vm, "ip -br address show lan0")
        key = (operator.folder / "key.pub").read_text()
        assert inside(operator, vm, "cat ~ops/.ssh/authorized_keys").strip() == key.strip()
        assert inside(operator, vm, "cat /etc/told") == "by hand"
        size = int(inside(operator, vm, "df --output=size -B1 / | tail -1"))
        assert size > 2.5 * 2**30, "the root was not grown to the disk"
        assert "deb" in inside(operator, vm, "getent hosts $(hostname)")
    hosts = {inside(operator, vm, "cat /etc/machine-id") for vm in ("deb1", "deb2")}
    assert len(hosts) == 2


def test_the_user_logs_in_from_the_other_guest_with_the_key(operator: Operator) -> None:
    for vm in ("deb1", "deb2"):
        inside(operator, vm, f"perl -e '{NO_CHECKSUMS.replace('eth0', 'lan0')}'")
    operator.ok("cp", str(operator.folder / "key"), "deb1:/srv/key")
    options = "-o StrictHostKeyChecking=no -o BatchMode=yes -o KexAlgorithms=curve25519-sha256"
    login = f"ssh -v -i /srv/key {options} ops@192.168.7.2 'hostname; sudo -n id -u; echo end'"
    inside(operator, "deb1", f"chmod 600 /srv/key; {login} >/srv/out 2>/srv/err </dev/null &")
    said = ""

    def has_ended() -> bool:
        nonlocal said
        said = inside(operator, "deb1", "cat /srv/out")
        return said.endswith("end\n")

    try:
        wait_until(has_ended, seconds=240)
    except AssertionError:
        raise AssertionError(inside(operator, "deb1", "cat /srv/err")) from None
    assert said == "deb2\n0\nend\n"


def test_a_reboot_keeps_all(operator: Operator) -> None:
    before = inside(operator, "deb1", f"touch /srv/marker; {IDENTITY}")
    heard = ended(operator, "deb1")
    operator.fab("exec", "--vm", "deb1", "--", "systemctl", "reboot")
    wait_until(lambda: ended(operator, "deb1") > heard, seconds=BOOT_LIMIT_S)
    wait_until(answers(operator, "deb1"), seconds=120)
    assert inside(operator, "deb1", IDENTITY) == before
    assert "192.168.7.1/24" in inside(operator, "deb1", "ip -br address show lan0")
    assert inside(operator, "deb1", "ls /srv/marker; hostname") == "/srv/marker\ndeb1\n"


def answers(operator: Operator, vm: str) -> Callable[[], bool]:
    return lambda: operator.fab("exec", "--vm", vm, "--", "true").code == 0


def test_another_seed_is_another_instance_on_the_same_disk(operator: Operator) -> None:
    before = inside(operator, "deb1", IDENTITY).split("\n")
    write(operator, ", { name = 'dev' }")
    plan = operator.fab("plan", "--vm", "deb1")
    assert plan.code == 0, "up would leave it as it is"
    assert "cloud_init: seed " in plan.out
    assert "fab restart --vm deb1" in plan.err
    operator.ok("restart", "--vm", "deb1", "--force")
    ready(operator, "deb1")
    wait_until(answers(operator, "deb1"), seconds=120)
    after = inside(operator, "deb1", IDENTITY).split("\n")
    assert after[0] != before[0]
    assert after[1] != before[1], "a new instance has host keys of its own"
    assert inside(operator, "deb1", "id -un dev; ls /srv/marker") == "dev\n/srv/marker\n"
    assert operator.fab("plan", "--vm", "deb1").code == 0


def test_the_image_is_as_it_was(operator: Operator) -> None:
    operator.ok("image.verify", "--image", "debian")
    assert Path(debian_image(cache_directory())).exists()
