"""What guests are told: in hosts.toml, read from files here, brought by a launch, and as drift."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import fabric
import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from pycdlib import PyCdlib

from vmops.core.devices import machine
from vmops.core.devices.seed import drive
from vmops.core.facts import vms as facts
from vmops.core.facts.observed import Observed
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.guest.cloud_init import CloudInit, Login
from vmops.core.inventory.guest.told import GuestNic, GuestUser, Seed, Written
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface
from vmops.core.plan import group, restarting, starting
from vmops.core.plan.drift import drift
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED
from vmops.core.script import script
from vmops.core.script.command import Step, StepResult
from vmops.errors import InventoryError
from vmops.inventory_file import load
from vmops.ops.vm.seeds import told, told_if_readable
from vmops.tasks.vm.cloud_init import show

from .test_inventory import complaints
from .worlds import EMPTY, VM1, WORKER, labels, running

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0 ops@laptop"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAy"
SECRET = "hunter2-and-more"
SEED = Seed("vm1", (GuestUser("ops", (KEY,)),), user_data=f"#!/bin/sh\n# {SECRET}\n".encode())
TOLD = replace(VM1, cloud_init=CloudInit(), seed=SEED)
OF_IMAGE = replace(TOLD, qcow_image="", image="debian")


def a_file(cloud_init: str, more: str = "") -> str:
    return dedent(f"""
        [vms.web]
        {more}
        ram_mb = 1
        cores = 1
        vnc_port = 5901
        qcow_image = "/{{name}}"
        cloud_init = {cloud_init}
        """)


def read(text: str) -> Inventory:
    return parse(text, source="hosts.toml")


# hosts.toml


def test_all_that_can_be_said() -> None:
    listed = read(
        a_file(
            f'{{ users = [{{ name = "ops", ssh_keys = ["~/id.pub", " {KEY} "] }},'
            ' { name = "dev" }], packages = ["tcpdump", "nginx=1.22-1"], user_data = "web.yaml",'
            ' hostname = "{name}.lab" }'
        )
    )
    vm = listed.vms["web"]
    assert vm.cloud_init == CloudInit(
        users=(Login("ops", ("~/id.pub", KEY)), Login("dev")),
        packages=("tcpdump", "nginx=1.22-1"),
        user_data="web.yaml",
        hostname="{name}.lab",
    )
    assert vm.cloud_init.host_name("web_1") == "web-1.lab"
    assert VM.from_dict(vm.to_dict()) == vm


@pytest.mark.parametrize(
    ("cloud_init", "said"),
    [
        ("5", "cloud_init: 5: must be a table, not a whole number: a table of what the guest is"),
        ("{ user = [] }", 'cloud_init.user: []: is not a key here; did you mean "users"?'),
        ("{ users = [{ }] }", "cloud_init.users[0].name: missing: must be 1 to 32 small letters"),
        ('{ users = [{ name = "Ops" }] }', "cloud_init.users[0].name: 'Ops': must be 1 to 32"),
        ('{ users = ["ops"] }', "cloud_init.users[0]: 'ops': must be a table of keys and values"),
        (
            '{ users = [{ name = "a" }, { name = "a" }] }',
            "cloud_init.users: 'a': must be there once",
        ),
        (
            '{ users = [{ name = "a", ssh_keys = ["ssh-rsa nonsense"] }] }',
            "cloud_init.users[0].ssh_keys: ['ssh-rsa nonsense']: must be a list of public keys",
        ),
        ('{ packages = ["a b"] }', "cloud_init.packages: ['a b']: must be a list of packages'"),
        ('{ packages = ["-y"] }', "cloud_init.packages: ['-y']: must be a list of packages'"),
        ('{ user_data = "a/" }', "cloud_init.user_data: 'a/': must be the path of a file here"),
        ('{ hostname = "a_b" }', "cloud_init.hostname: 'a_b': must be a host name"),
        ('{ hostname = "-a" }', "cloud_init.hostname: '-a': must be a host name"),
    ],
)
def test_each_fault_is_told_where_it_is(cloud_init: str, said: str) -> None:
    (complaint,) = complaints(a_file(cloud_init))
    assert complaint.startswith(f"hosts.toml: vms.web.{said}")


def test_a_template_gives_it_as_a_whole_and_each_vm_of_a_count_gets_its_own_name() -> None:
    text = '[templates.t]\ncloud_init = { packages = ["vim"], hostname = "x-{name}" }\n'
    listed = read(text + a_file("{}", 'count = 2\ntemplate = "t"').replace("cloud_init = {}", ""))
    one, two = told(list(listed.vms.values()))
    assert isinstance(one.seed, Seed)
    assert isinstance(two.seed, Seed)
    assert (one.seed.hostname, two.seed.hostname) == ("x-web1", "x-web2")
    assert listed.origins["vms", "web1", "cloud_init"] == "[templates.t]"
    own = read(text + a_file("{}", 'template = "t"')).vms["web"]
    assert own.cloud_init == CloudInit()


def test_a_bad_one_of_a_template_is_told_once() -> None:
    text = "[vm_defaults]\ncloud_init = { packages = 1 }\n"
    more = a_file("{}", "count = 3").replace("cloud_init = {}", "")
    (complaint,) = complaints(text + more)
    assert complaint.startswith("hosts.toml: vm_defaults.cloud_init.packages: 1: must be a list")


def test_a_vm_is_told_something_where_it_has_an_address_too() -> None:
    assert not VM1.is_told
    addressed = Interface("eth1", vlan_id=101, address="10.0.0.5/24")
    assert replace(VM1, interfaces=(addressed,)).is_told
    assert not replace(VM1, interfaces=(replace(addressed, vlan_id=None),)).is_told
    assert replace(VM1, cloud_init=CloudInit()).is_told


# Files here


def seed_of(vm: VM) -> Seed:
    (found,) = told([vm])
    assert isinstance(found.seed, Seed)
    assert found == vm
    return found.seed


def test_files_are_read_beside_hosts_toml(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/ops.pub").write_text(f"# two\n{KEY}\n\n{OTHER}\n{KEY}\n")
    (tmp_path / "web.yaml").write_bytes(b"#cloud-config\nmotd: \xff\n")
    said = '{ users = [{ name = "ops", ssh_keys = ["keys/ops.pub"] }], user_data = "web.yaml" }'
    (tmp_path / "hosts.toml").write_text(a_file(said))
    seed = seed_of(load(tmp_path / "hosts.toml").vms["web"])
    assert seed.users == (GuestUser("ops", (KEY, OTHER)),)
    assert seed.user_data == b"#cloud-config\nmotd: \xff\n"


def test_interfaces_are_told_as_the_guest_finds_them() -> None:
    vm = replace(
        VM1,
        interfaces=(
            Interface("eth1", vlan_id=1, address="10.0.0.5/24", gateway="10.0.0.1"),
            Interface("spare", address="10.0.0.6/24"),
            Interface("eth3", vlan_id=3, dhcp=True, dns=("10.0.0.2",)),
            Interface("a-name-beyond-15-letters", vlan_id=4),
        ),
    )
    assert seed_of(vm).nics == (
        GuestNic("eth1", "52:54:00:03:e9:01", ("10.0.0.5/24",), "10.0.0.1"),
        GuestNic("eth3", "52:54:00:03:e9:03", dns=("10.0.0.2",), dhcp=True),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "it is a private key; its public one is in"),
        (b"", "it holds something else than public keys, one a line"),
        (KEY.encode() + b"\nhello\n", "it holds something else than public keys, one a line"),
        (KEY.encode() + b"\x1b[31m\n", "it holds something else than public keys, one a line"),
        (b"#" * (1 << 20) + b"\n", "it holds more than 1 MiB"),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "id"
    if content is not None:
        file.write_bytes(content)
    vm = replace(VM1, cloud_init=CloudInit(users=(Login("ops", (KEY, str(file))),)))
    with pytest.raises(InvalidValue) as caught:
        told([vm], source="lab.toml")
    (complaint,) = caught.value.complaints
    path = "lab.toml: vms.vm1.cloud_init.users[0].ssh_keys[1]: "
    assert complaint.startswith(path)
    assert said in complaint


def test_a_private_key_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n")
    vm = replace(VM1, cloud_init=CloudInit(users=(Login("ops", (str(tmp_path / "id"),)),)))
    with pytest.raises(InvalidValue) as caught:
        told([vm])
    assert SECRET not in str(caught.value)


def test_all_bad_files_are_told_at_once_and_status_does_without(tmp_path: Path) -> None:
    lost = CloudInit(users=(Login("ops", ("/no/such/key",)),), user_data="/no/such/file")
    odd = tmp_path / "odd"
    odd.write_text("packages: [x]\n")
    vms = [
        replace(VM1, cloud_init=lost),
        replace(VM1, name="vm2", cloud_init=CloudInit(user_data=str(odd))),
        TOLD,
    ]
    with pytest.raises(InvalidValue) as caught:
        told(vms)
    assert len(caught.value.complaints) == 3
    assert "its first line is none that cloud-init knows" in caught.value.complaints[2]
    found, errors = told_if_readable(vms)
    assert [vm.seed for vm in found] == [None, None, SEED]
    assert all(isinstance(error, InventoryError) for error in errors)
    assert len(errors) == 2


# The launch


def step_of(plan: Plan, label: str) -> Step:
    assert plan.block is not None
    return next(step for step in plan.block.numbered() if step.label == label)


def test_a_launch_brings_the_cd_and_attaches_it() -> None:
    plan = starting.launch(WORKER, TOLD, EMPTY)
    assert labels(plan)[-4:] == ["run directory", "seed", "QEMU", "pid"]
    (brings,) = step_of(plan, "seed").commands
    made = drive.written(SEED)
    assert brings.argv[:4] == ("bring_seed", "vm1", "1900001001", made.instance)
    assert zlib.decompress(brings.stdin or b"", wbits=31) == made.cd
    line = " ".join(step_of(plan, "QEMU").commands[0].words())
    assert "id=seed,file=/run/vmops/vm1/seed.iso,format=raw,media=cdrom,readonly=on" in line


def test_what_a_guest_is_told_is_seen_nowhere_but_on_its_cd() -> None:
    plan = starting.launch(WORKER, TOLD, EMPTY)
    assert plan.block is not None
    shown = script.shown([plan.block])
    assert "put the CD of its first boot (seed " in shown
    for step in plan.block.numbered():
        for entry in step.commands:
            assert SECRET not in " ".join(entry.words())
    text = script.render([plan.block], nonce="0" * 32)
    assert text.startswith(": private\n")
    for word in (SECRET, KEY, b64encode(SECRET.encode()).decode()):
        assert word not in text
        assert word not in shown
    silent = starting.launch(WORKER, VM1, EMPTY).block
    assert silent is not None
    assert not script.render([silent], nonce="0" * 32).startswith(": private\n")


def test_where_ids_are_shared_only_root_may_read_it() -> None:
    shared = EMPTY._replace(host=EMPTY.host._replace(whole_uid_range=False))
    (brings,) = step_of(starting.launch(WORKER, TOLD, shared), "seed").commands
    assert brings.argv[2] == "0"


def test_without_a_seed_there_is_none() -> None:
    plan = starting.launch(WORKER, VM1, EMPTY)
    assert "seed" not in labels(plan)
    assert "seed" not in " ".join(step_of(plan, "QEMU").commands[0].words())


def test_what_was_not_read_is_not_left_out_silently() -> None:
    with pytest.raises(AssertionError, match="is read before it starts"):
        starting.launch(WORKER, replace(TOLD, seed=None), EMPTY)


@pytest.mark.parametrize(
    ("vm", "word"),
    [(TOLD, "ide-cd,drive=seed"), (replace(TOLD, disk_model="virtio"), "scsi-cd,bus=seedbus.0")],
)
def test_the_drive_is_one_that_the_guest_has_a_driver_for(vm: VM, word: str) -> None:
    assert any(each.startswith(word) for each in drive.words(vm))


def test_the_cds_drive_is_not_taken_for_the_disk() -> None:
    for vm in (TOLD, replace(TOLD, disk_model="virtio"), OF_IMAGE):
        line = running(vm).vm("vm1").command_line
        assert line.image.endswith(vm.qcow_image.lstrip("~"))
        assert line.disk_model == vm.drive_model
    foreign = ["qemu", "-drive", "file=/a,format=qcow2", "-drive", "file=/b.iso,media=cdrom"]
    assert machine.parse(foreign).image == "/a"


# Drift, and the way back


def with_seed(seen: Observed, seed: str) -> Observed:
    return seen._replace(vms={"vm1": seen.vm("vm1")._replace(seed=seed)})


INSTANCE = drive.instance_of(SEED)
OLD = Written("vmops-0123456789abcdef01234567", b"the old CD")


@pytest.mark.parametrize(
    ("vm", "has", "said"),
    [
        (TOLD, INSTANCE, []),
        (TOLD, "", [f"cloud_init: no seed -> seed {INSTANCE[6:14]}"]),
        (TOLD, OLD.instance, [f"cloud_init: seed 01234567 -> seed {INSTANCE[6:14]}"]),
        (VM1, INSTANCE, [f"cloud_init: seed {INSTANCE[6:14]} -> no seed"]),
        (VM1, "", []),
        (replace(TOLD, seed=None), OLD.instance, []),
    ],
)
def test_another_seed_than_is_wanted_waits_for_the_next_start(
    vm: VM, has: str, said: list[str]
) -> None:
    seen = with_seed(running(vm), has)
    found = drift(WORKER, vm, seen)
    assert [str(one) for one in found] == said
    assert all(one.how == "at its next start" for one in found)
    plan = starting.launch(WORKER, vm, seen)
    assert (plan.action, plan.drift) == ("nothing", found)
    (asked,) = group.plans(WORKER, [vm], seen, terms=Terms(restart=KILLED))
    assert isinstance(asked, Plan)
    assert asked.action == ("restart" if said else "nothing")


def test_another_seed_keeps_nothing_else_from_being_changed_live() -> None:
    seen = with_seed(running(TOLD), "")
    ports = {name: port._replace(tag=9) for name, port in seen.switch.ports.items()}
    seen = seen._replace(switch=seen.switch._replace(ports=ports))
    plan = starting.launch(WORKER, TOLD, seen)
    assert plan.action == "replug"
    assert {one.how for one in plan.drift} == {"live", "at its next start"}


def way_back(vm: VM, seen: Observed) -> list[str] | None:
    plan = restarting.restart(WORKER, vm, seen, manner=KILLED)
    recovery = plan.phases[0].recovery
    if recovery is None:
        return None
    return [
        " ".join([*entry.words(), zlib.decompress(entry.stdin, wbits=31).decode("latin-1")])
        for step in recovery.numbered()
        for entry in step.commands
        if entry.words()[0] == "bring_seed" and entry.stdin
    ]


def test_the_way_back_has_the_seed_that_it_ran_with() -> None:
    wanted = replace(TOLD, seed=SEED._replace(hostname="other"))
    seen = with_seed(running(TOLD), OLD.instance)
    (brings,) = way_back(wanted, seen._replace(seeds={"vm1": OLD})) or []
    assert OLD.instance in brings
    assert brings.endswith("the old CD")
    (same,) = way_back(TOLD, with_seed(running(TOLD), INSTANCE)) or []
    assert INSTANCE in same
    assert way_back(wanted, with_seed(running(VM1), "")) == []
    # Started without what it was told it would be another guest: then it is not started at all.
    assert way_back(wanted, seen) is None


def answer(vms: list[VM], **parts: bytes) -> dict[str, Written]:
    question = facts.seeds(vms)
    step = Step(question.name, question.commands)
    return dict(question.read(StepResult(step, 0, parts=tuple(parts.items()))))


def test_the_seeds_that_run_are_asked_for_where_they_differ() -> None:
    (asked,) = facts.seeds([TOLD, VM1]).commands
    assert asked.argv == ("other_seeds", "vm1", INSTANCE, "vm1", "-")
    packer = zlib.compressobj(wbits=31)
    packed = b64encode(packer.compress(OLD.cd) + packer.flush())
    assert answer([TOLD], vm1=OLD.instance.encode() + b"\n" + packed) == {"vm1": OLD}
    with pytest.raises(ValueError, match="header"):
        answer([TOLD], vm1=OLD.instance.encode() + b"\nAAAA")


def test_a_worker_that_answers_with_a_bomb_costs_little() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = b64encode(packer.compress(bytes(64 << 20)) + packer.flush())
    found = answer([TOLD], vm1=OLD.instance.encode() + b"\n" + packed)
    assert len(found["vm1"].cd) == 4 << 20


def test_the_cd_is_what_documents_say() -> None:
    read = PyCdlib()
    read.open_fp(BytesIO(drive.written(SEED).cd))
    out = BytesIO()
    read.get_file_from_iso_fp(out, rr_path="/meta-data")
    assert INSTANCE in out.getvalue().decode()
    read.close()


# The task


def test_show_prints_what_a_guest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.sh").write_text("#!/bin/sh\necho \x1b[31mred\n")
    (tmp_path / "hosts.toml").write_text(
        a_file('{ packages = ["vim"], user_data = "own.sh" }', "count = 2")
        + a_file("{}").replace("vms.web", "vms.bare").replace("5901", "5999").replace("cloud", "#")
    )
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))
    c: Any = Context(config=fabric.Config())
    show(c, vm="*")
    said = capsys.readouterr()
    assert said.out.count("# web1: user-data, text/x-shellscript\n#!/bin/sh\n") == 1
    assert '"local-hostname": "web2"' in said.out
    assert '"vim"' in said.out
    assert "\x1b" not in said.out
    assert said.err == "bare: the guest is told nothing\n"
    show(c, vm="web2", format="json")
    (told_,) = json.loads(capsys.readouterr().out)
    assert told_["vm"] == "web2"
    assert told_["instance_id"] in told_["meta_data"]
    assert told_["network_config"] is None
    for vm in (None, "bare", "nobody"):
        with pytest.raises(Exit):
            show(c, vm=vm)
