"""What guests are told: in hosts.toml, read from files here, and shown."""

from __future__ import annotations

import json
import os
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

from vmops.core.devices.seed import drive
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.guest.cloud_init import CloudInit, Login
from vmops.core.inventory.guest.told import GuestNic, GuestUser, Seed
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface
from vmops.errors import InventoryError
from vmops.inventory_file import load
from vmops.ops.vm.seeds import told, told_if_readable
from vmops.tasks.vm.cloud_init import show

from .test_inventory import complaints
from .worlds import VM1

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


def test_a_pipe_and_a_home_that_nobody_has_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "~nobody-at-all/x", "/dev/zero", str(tmp_path)):
        for wanted in (CloudInit(user_data=path), CloudInit(users=(Login("ops", (path,)),))):
            with pytest.raises(InvalidValue, match=r"it is no plain file|cannot be read"):
                told([replace(VM1, cloud_init=wanted)])


# The launch


def test_the_cd_is_what_documents_say() -> None:
    read = PyCdlib()
    read.open_fp(BytesIO(drive.written(SEED).cd))
    out = BytesIO()
    read.get_file_from_iso_fp(out, rr_path="/meta-data")
    assert drive.instance_of(SEED) in out.getvalue().decode()
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
