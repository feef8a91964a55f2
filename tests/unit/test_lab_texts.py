"""The lab's texts and checks that need no lab."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vmops.errors import InventoryError, WorkFailed
from vmops.lab import tools
from vmops.lab.inventory import hosts_toml, known_hosts
from vmops.lab.layout import Layout
from vmops.lab.switch import vlans_left_out, without_vlans
from vmops.lab.worker import add_user

LAYOUT = Layout(Path("/run/some-lab"))
ONE = {"worker1": "127.0.10.1"}
TWO = {**ONE, "worker2": "127.0.10.2"}


def test_the_inventory_has_the_workers_and_two_sample_vms() -> None:
    content = tomllib.loads(hosts_toml(LAYOUT, TWO))
    assert content["defaults"] == {
        "user": "ubuntu",
        "bridge": "br-int",
        "accel": "tcg",
        "host_keys": "strict",
        "uplink": "uplink",
        "network_node": "worker1",
        "known_hosts": "/run/some-lab/known_hosts",
    }
    assert content["workers"]["worker2"] == {
        "address": "127.0.10.2",
        "port": 2222,
        "identity_file": "/run/some-lab/id_ed25519",
    }
    assert content["vms"]["vm1"] == {
        "vm_id": 1001,
        "worker": "worker1",
        "ram_mb": 512,
        "cores": 1,
        "vnc_port": 5901,
        "qcow_image": "~/vm_images/vm1_img.qcow2",
        "interfaces": [{"name": "eth1", "vlan_id": 101, "mac": "52:54:00:03:e9:01"}],
    }
    assert content["vms"]["vm2"]["worker"] == "worker2"
    assert [i["vlan_id"] for i in content["vms"]["vm2"]["interfaces"]] == [101, 102]


def test_a_lab_of_one_worker_has_both_samples_there() -> None:
    vms = tomllib.loads(hosts_toml(LAYOUT, ONE))["vms"]
    assert [vm["worker"] for vm in vms.values()] == ["worker1", "worker1"]


@pytest.mark.parametrize(
    "kept",
    [
        "[vms.mine]\nvm_id = 1 # mine\n",
        "[[vms.mine.interfaces]]\nname = 'eth1'\n",
        "[vm_defaults]\ncores = 1\n\n[vms.mine]\n",
        "[[vm_defaults.interfaces]]\nname = 'eth1'\n",
        "[templates.router]\ncores = 1\n\n[vms.mine]\n",
    ],
    ids=["table", "array", "defaults", "array-of-defaults", "template"],
)
def test_what_follows_the_first_vm_is_kept_to_the_letter(kept: str) -> None:
    before = f"[defaults]\nuser = 'me'\n\n{kept}"
    after = hosts_toml(LAYOUT, TWO, before=before)
    assert after.endswith(f"\n\n{kept}")
    assert "'me'" not in after
    assert "vm1" not in after
    assert hosts_toml(LAYOUT, TWO, before=after) == after


@pytest.mark.parametrize(
    ("port", "host"), [(22, "127.0.10.1"), (2222, "[127.0.10.1]:2222")], ids=str
)
def test_known_hosts_names_the_port_where_it_is_not_the_usual(
    tmp_path: Path, port: int, host: str
) -> None:
    (tmp_path / "worker1_host_key.pub").write_text("ssh-ed25519 AAAA a comment\n")
    layout = Layout(tmp_path, port=port)
    assert known_hosts(layout, ONE) == f"{host} ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    ("passwd", "uid"),
    [
        ("root:x:0:0:root:/root:/bin/sh\n", 1000),
        ("root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n", 1001),
        ("ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/sh\n", 1000),
    ],
    ids=["alone", "beside another", "in place of the machine's own"],
)
def test_the_user_gets_a_free_number_and_is_there_once(passwd: str, uid: int) -> None:
    text, got = add_user(passwd, "ubuntu")
    assert got == uid
    ours = [line for line in text.splitlines() if line.startswith("ubuntu:")]
    assert ours == [f"ubuntu:x:{uid}:{uid}:ubuntu:/home/ubuntu:/bin/bash"]
    assert [line for line in passwd.splitlines() if not line.startswith("ubuntu:")] == [
        line for line in text.splitlines() if not line.startswith("ubuntu:")
    ]


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path, network="127.7.7", port=99, sshd_options=("MaxSessions 2",))
    layout.save()
    assert Layout.load(tmp_path) == layout
    assert Layout.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"network": "127.0.10"}'])
def test_broken_settings_are_told_with_their_cure(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(WorkFailed, match=r"lab\.json(.|\n)*fab lab\.down"):
        Layout.load(tmp_path)


def test_a_directory_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(InventoryError, match="too long"):
        Layout(Path("/" + "x" * 100))


def test_missing_programs_are_told_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(tools, "PACKAGES", {"no-such-tool": "one", "nor-this": "two", "sh": "dash"})
    with pytest.raises(WorkFailed, match=r"apt-get install .* one two$"):
        tools.require_tools()


def test_a_lab_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(WorkFailed, match="needs root"):
        tools.require_tools()


def test_a_lab_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(WorkFailed, match="needs Linux"):
        tools.require_tools()


def test_vlans_that_are_left_out_are_read_as_they_were_asked() -> None:
    asked = without_vlans("worker2", [101, 4094]) + without_vlans("worker1", [])
    told = asked.replace("iifname worker2", 'iifname "worker2"')
    assert vlans_left_out(told) == {"worker2": [101, 4094]}
    assert vlans_left_out("") == {}
