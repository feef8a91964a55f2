"""Bad input and bad days: one clear message each, the right exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmops.lab import Lab

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, Said, small_vm


@pytest.fixture
def alone(own_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Operator]:
    """An operator with a lab of one worker of their own, to break."""
    folder = tmp_path / "operator"
    folder.mkdir()
    somebody = Operator(own_lab(1), folder)
    somebody.write()
    yield somebody
    somebody.clean_up()


def assert_clear(said: Said, code: int, *words: str) -> None:
    """The exit code, all the words, at most three lines for the one error, no traceback."""
    assert said.code == code, (said.out, said.err)
    for word in words:
        assert word in said.err, said.err
    assert "Traceback" not in said.err + said.out
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said.err
    assert len(said.err.strip().splitlines()) <= 3, said.err


BAD_INPUT = [
    pytest.param(("launch", "--vm", "vm2"), ("vm2", 'did you mean "vm1"'), id="unknown-vm"),
    pytest.param(("launch",), ("which VM", "--vm"), id="no-vm"),
    pytest.param(("launch", "--vm", "web*"), ("web*",), id="glob-without-a-match"),
    pytest.param(("-H", "worker11", "doctor"), ("worker11", "worker1"), id="unknown-worker"),
    pytest.param(("launch", "--vm", "$(touch /tmp/x)"), ("touch",), id="hostile-name"),
    pytest.param(("status", "--format", "xml"), ("xml", "json"), id="unknown-format"),
    pytest.param(("script", "/no/such/script", "--worker", "worker1"), ("/no/such",), id="script"),
    pytest.param(("run", "true"), ("-H",), id="run-nowhere"),
]


@pytest.mark.parametrize(("words", "said"), BAD_INPUT)
def test_bad_input_contacts_nothing(
    operator: Operator, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    before = [worker.connections for worker in operator.lab.status().workers]
    assert_clear(operator.fab(*words), 2, *said)
    assert [worker.connections for worker in operator.lab.status().workers] == before


def test_a_broken_inventory_is_told_whole(operator: Operator) -> None:
    operator.hosts_toml.write_text("[vms.a]\nvm_id = 0\nram = 5\n[worker.x]\n")
    said = operator.fab("status")
    assert said.code == 2
    for part in ("vms.a.vm_id", "vms.a.ram", 'did you mean "ram_mb"', '"workers"'):
        assert part in said.err
    missing = operator.fab("status", env={"VMOPS_HOSTS": "/no/hosts.toml"})
    assert_clear(missing, 2, "/no/hosts.toml")


def test_a_vm_pinned_elsewhere_is_refused(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101), "worker2", image=False)
    said = operator.fab("-H", "worker1", "launch", "--vm", "vm1")
    assert_clear(said, 2, "pinned to worker worker2")


def test_a_missing_image(operator: Operator) -> None:
    operator.add(small_vm("bare", 1, 101), image=False)
    said = operator.fab("launch", "--vm", "bare")
    assert_clear(said, 1, "worker1", "no image /home/ubuntu/vm_images/bare.qcow2", "qcow_image")
    assert operator.taps("worker1") == set()


def test_an_image_that_only_qemu_finds_broken(operator: Operator) -> None:
    """It is said to have bitmaps, and what would say where they are has no room for that."""
    vm = operator.add(small_vm("vm1", 1, 101))
    path = vm.qcow_image.replace("~", "/home/ubuntu")
    for at, text in ((95, r"\1"), (112, r"\043\205\050\165\0\0\0\1")):
        write = f"printf '{text}' | dd conv=notrunc status=none bs=1 seek={at} of={path}"
        operator.on("worker1", "sh", "-c", write)
    said = operator.fab("launch", "--vm", "vm1")
    assert_clear(said, 1, "QEMU failed", "bitmaps_ext", "undone")
    assert operator.taps("worker1") == set()
    assert operator.port("worker1", "tap_1_eth1") is None
    assert operator.on("worker1", "ls", "/run/vmops") == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_a_vnc_port_in_use(operator: Operator, address: str) -> None:
    """On another address it is in nobody's way."""
    operator.add(small_vm("vm1", 1, 101))
    listen = f"import socket, time; s = socket.create_server(('{address}', 5901)); time.sleep(60)"
    script = f'python3 -c "{listen}" >/dev/null 2>&1 & echo $!'
    pid = operator.on("worker1", "sh", "-c", script).strip()
    try:
        wait_until(lambda: ":5901" in operator.on("worker1", "ss", "-ltnH"))
        said = operator.fab("launch", "--vm", "vm1")
        if address == "127.0.0.1":
            assert_clear(said, 1, "5901", "in use", "ss -ltnp")
        else:
            assert said.code == 0, said
    finally:
        operator.on("worker1", "kill", pid)


@pytest.mark.parametrize("source", ["images", "my images", "a 1 2 3"])
def test_the_room_of_a_folder_whose_source_has_blanks(operator: Operator, source: str) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    folder = "/home/ubuntu/vm_images"
    operator.on("worker1", "mkdir", "-p", folder)
    operator.on("worker1", "mount", "-t", "tmpfs", "-o", "size=10m", source, folder)
    try:
        said = operator.fab("-H", "worker1", "doctor", "--format", "json")
        (room,) = (each for each in said.json[0]["checks"] if each["name"].startswith("folder"))
        assert (said.code, room["ok"], room["found"]) == (1, False, "10 MiB free")
    finally:
        operator.on("worker1", "umount", folder)


def test_an_option_rom_is_missing(operator: Operator) -> None:
    """QEMU does not start then, so `doctor` says it before, and nothing is left of a launch."""
    operator.add(small_vm("vm1", 1, 101))
    # Debian 12 has them in a folder of their own.
    known = ("/usr/lib/ipxe/qemu", "/usr/share/qemu")
    rom = "efi-e1000.rom"
    folder = next(each for each in known if Path(each, rom).exists())
    script = f"cp -a {folder} /tmp/roms; rm /tmp/roms/{rom}; mount --bind /tmp/roms {folder}"
    operator.on("worker1", "sh", "-ec", script)
    try:
        said = operator.fab("-H", "worker1", "doctor")
        assert_clear(said, 1, "QEMU does not find efi-e1000.rom", "apt install ipxe-qemu")
        assert_clear(operator.fab("launch", "--vm", "vm1"), 1, "efi-e1000.rom")
        assert operator.taps("worker1") == set()
    finally:
        operator.on("worker1", "umount", folder)
        operator.on("worker1", "rm", "-r", "/tmp/roms")
    assert "option ROMs" in operator.ok("-H", "worker1", "doctor").out


def test_no_kvm(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    text = operator.hosts_toml.read_text().replace('accel = "tcg"', 'accel = "kvm"')
    operator.hosts_toml.write_text(text)
    operator.on("worker1", "mount", "--bind", "/etc/hostname", "/dev/kvm")
    try:
        assert_clear(operator.fab("launch", "--vm", "vm1"), 1, "no /dev/kvm", 'accel = "auto"')
        doctor = operator.fab("-H", "worker1", "doctor")
        assert doctor.code == 1
        assert "/dev/kvm" in doctor.err
    finally:
        operator.on("worker1", "umount", "/dev/kvm")


def test_open_vswitch_is_not_running(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    alone.lab.stop_daemon("worker1", "ovsdb-server")
    assert_clear(alone.fab("launch", "--vm", "vm1"), 1, "Open vSwitch does not answer", "systemctl")
    assert alone.taps("worker1") == set()
    doctor = alone.fab("doctor")
    assert doctor.code == 1
    assert "ovsdb-server" in doctor.err


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("task", ["launch", "plug", "up"])
def test_the_switch_daemon_is_away(alone: Operator, how: str, task: str) -> None:
    """OVSDB would take the port and nobody make it: the VM is not left with a dead network."""
    alone.add(small_vm("vm1", 1, 101))
    if how == "stopped":
        alone.lab.stop_daemon("worker1", "ovs-vswitchd")
    else:
        alone.on("worker1", "sh", "-c", "kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)")
    began = time.monotonic()
    said = alone.fab(task, "--vm", "vm1")
    assert time.monotonic() - began < 8
    assert_clear(said, 1, "ovs-vswitchd does not run", "systemctl restart openvswitch-switch")
    assert alone.taps("worker1") == set()
    assert alone.qemus("worker1") == {}
    doctor = alone.fab("doctor")
    assert doctor.code == 1
    assert "ovs-vswitchd" in doctor.err


def test_the_switch_daemon_is_held(alone: Operator) -> None:
    """It is seen before anything is done, and not waited for."""
    for number in (1, 2):
        alone.add(small_vm(f"vm{number}", number, 101, 102))
    signal_it = "kill -s {} $(cat /run/openvswitch/ovs-vswitchd.pid)"
    alone.on("worker1", "sh", "-c", signal_it.format("STOP"))
    try:
        began = time.monotonic()
        said = alone.fab("launch", "--vm", "*")
        assert time.monotonic() - began < 10
        assert said.code == 1, said
        assert "ovs-vswitchd is held by a signal" in said.err
        assert alone.taps("worker1") == set()
        assert alone.qemus("worker1") == {}
    finally:
        alone.on("worker1", "sh", "-c", signal_it.format("CONT"))


def test_doctor_finds_what_was_left(operator: Operator) -> None:
    """What is plugged for a VM of the inventory may be meant so; what nobody knows is not."""
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("plug", "--vm", "vm1", "doctor")
    operator.on(
        "worker1",
        *("sh", "-c"),
        "ip tuntap add mode tap name tap_9_eth1; ip link set tap_9_eth1 alias vmops:gone;"
        "ovs-vsctl add-port br-int tap_9_eth1 -- set Interface tap_9_eth1"
        " external_ids:vmops-vm=gone",
    )
    said = operator.fab("-H", "worker1", "doctor")
    assert_clear(said, 1, "port tap_9_eth1: plugged for gone, which is not booted", "ip link del")
    assert "port tap_1_eth1" in said.out


def test_no_such_bridge(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    text = operator.hosts_toml.read_text().replace('bridge = "br-int"', 'bridge = "br-lan"')
    operator.hosts_toml.write_text(text)
    said = operator.fab("launch", "--vm", "vm1")
    assert_clear(said, 1, "no bridge br-lan", "br-int", "add-br br-lan")
    assert operator.taps("worker1") == set()


def test_sudo_that_asks_for_a_password(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    alone.on("worker1", "sh", "-c", "sed -i s/NOPASSWD:// /etc/sudoers.d/*")
    said = alone.fab("launch", "--vm", "vm1")
    assert_clear(said, 1, "worker1", "sudo", "password", "--prompt-for-sudo-password")


def test_a_key_that_is_refused(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    alone.on("worker1", "rm", "/home/ubuntu/.ssh/authorized_keys")
    assert_clear(alone.fab("launch", "--vm", "vm1"), 3, "worker1", "ubuntu")


def test_a_changed_host_key(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    known = alone.folder / "known_hosts"
    key = alone.folder / "other"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", key], check=True)
    host = f"[{alone.address('worker1')}]:2222"
    known.write_text(f"{host} {key.with_suffix('.pub').read_text()}")
    text = alone.hosts_toml.read_text().replace(str(alone.lab.known_hosts), str(known))
    alone.hosts_toml.write_text(text)
    said = alone.fab("launch", "--vm", "vm1")
    assert_clear(said, 3, "SHA256:", str(known), "ssh-keygen -f", " -R ")
    assert alone.qemus("worker1") == {}


def test_a_worker_that_is_down(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    alone.lab.fault("worker1", "drop")
    assert_clear(alone.fab("launch", "--vm", "vm1"), 3, "worker1")
    said = alone.fab("status", "--format", "json")
    assert said.code == 3
    assert said.json[0]["state"] == "unknown"
    assert said.json[0]["error"]
    assert alone.fab("doctor").code == 3


def test_a_worker_that_stops_answering_in_the_middle(alone: Operator) -> None:
    alone.add(small_vm("vm1", 1, 101))
    alone.lab.fault("worker1", "freeze", after_bytes=4000)
    began = time.monotonic()
    said = alone.fab("launch", "--vm", "vm1")
    assert said.code in (1, 3), said
    assert "worker1" in said.err
    assert "Traceback" not in said.err
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("command", ["sleep 987", "sudo sleep 987"])
def test_a_time_out_ends_the_remote_process_too(operator: Operator, command: str) -> None:
    said = operator.fab("-H", "worker1", "run", command, "--timeout", "1")
    assert_clear(said, 1, "worker1", "1 s")
    processes = operator.on("worker1", "ps", "-eo", "args")
    assert "sleep 987" not in processes


def test_a_command_that_fails_says_its_code(operator: Operator) -> None:
    said = operator.fab("-H", "worker1", "run", "echo out; echo err >&2; exit 7")
    assert (said.code, said.out) == (1, "out\n")
    assert "err\n" in said.err
    assert "exit code 7" in said.err


@pytest.mark.parametrize("when", ["a command", "a launch"])
def test_ctrl_c(operator: Operator, when: str) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.on("worker1", "rm", "-f", "/tmp/begun")
    words = ["-H", "worker1", "run", "touch /tmp/begun; sleep 60", "--timeout", "60"]
    if when == "a launch":
        words = ["launch", "--vm", "vm1"]
    fab = operator.begin(*words)
    if when == "a command":
        wait_until(lambda: "begun" in operator.on("worker1", "ls", "/tmp"))
    else:
        wait_until(lambda: "tap_1_eth1" in operator.taps("worker1"))
    os.kill(fab.pid, signal.SIGINT)
    out, err = fab.communicate(timeout=10)
    assert "Traceback" not in out + err
    if fab.returncode != 0:
        assert fab.returncode == 130
        assert "interrupted" in err
    operator.on("worker1", "rm", "-f", "/tmp/begun")
    if when == "a launch":
        wait_until(lambda: whole_or_nothing(operator), seconds=15)


def whole_or_nothing(operator: Operator) -> bool:
    """vm1 runs as asked, or nothing of it is there."""
    (found,) = operator.ok("status", "--format", "json").json
    whole = found["state"] == "running" and found["interfaces"][0]["plugged"]
    nothing = found["state"] == "stopped" and operator.taps("worker1") == set()
    return bool(whole or nothing)


def test_eight_workers_with_few_open_files(own_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """As many as a shell with `ulimit -n 28` may have open."""
    lab = own_lab(8)
    few = ["sh", "-c", 'ulimit -n 28; exec "$@"', "sh", FAB, "doctor", "--format", "json"]
    said = subprocess.run(
        few,
        cwd=ROOT,
        env={**os.environ, "VMOPS_HOSTS": str(lab.inventory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    reports = json.loads(said.stdout)
    assert [each["error"] for each in reports] == [None] * 8
    assert all(len(each["checks"]) > 5 for each in reports)
