"""The seed of a first boot: what it says, that it is the same for the same, and readable."""

from __future__ import annotations

import email
import json
import time
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke.vendor import yaml
from pycdlib import PyCdlib

from vmops.core.devices.seed import cd, documents, ready
from vmops.core.devices.seed.ready import Ending
from vmops.core.inventory.guest.told import GuestNic, GuestUser, Seed

OPS = GuestUser("ops", ("ssh-ed25519 AAAA ops@laptop",))
ETH0 = GuestNic("eth0", "52:54:00:03:E9:01", ("10.1.1.5/24",), "10.1.1.1", ("10.1.1.2",))
WEB = Seed("web1", (OPS,), ("tcpdump",), nics=(ETH0, GuestNic("eth1", "52:54:00:03:e9:02")))


def config(told: Seed) -> dict[str, Any]:
    return dict(yaml.safe_load(documents.documents(told)[documents.USER_DATA]))


def test_what_is_asked_for_is_said() -> None:
    files = documents.documents(WEB)
    assert json.loads(files[documents.META_DATA])["local-hostname"] == "web1"
    said = config(WEB)
    assert said["packages"] == ["tcpdump"]
    (user,) = said["users"]
    assert user["name"] == "ops"
    assert user["ssh_authorized_keys"] == list(OPS.ssh_keys)


def test_interfaces_are_found_by_mac_and_named_with_no_network_around() -> None:
    network = yaml.safe_load(documents.documents(WEB)[documents.NETWORK])
    assert network == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "52:54:00:03:e9:01"},
                "set-name": "eth0",
                "dhcp4": False,
                "addresses": ["10.1.1.5/24"],
                "routes": [{"to": "0.0.0.0/0", "via": "10.1.1.1"}],
                "nameservers": {"addresses": ["10.1.1.2"]},
            },
            "eth1": {
                "match": {"macaddress": "52:54:00:03:e9:02"},
                "set-name": "eth1",
                "dhcp4": False,
                "optional": True,
            },
        },
    }


def test_without_a_word_of_any_interface_cloud_init_does_as_it_likes() -> None:
    silent = documents.documents(WEB._replace(nics=(GuestNic("eth0", "52:54:00:03:e9:01"),)))
    assert documents.NETWORK not in silent


CHANGES = [
    WEB._replace(hostname="web2"),
    WEB._replace(users=(OPS._replace(name="dev"),)),
    WEB._replace(packages=()),
    WEB._replace(user_data=b"#!/bin/sh\n"),
    WEB._replace(user_data=b"#!/bin/sh\n\n"),
    WEB._replace(nics=(ETH0._replace(gateway=""),)),
    WEB._replace(nics=(ETH0._replace(mtu=1446),)),
    WEB._replace(nics=(ETH0._replace(mtu=1400),)),
    WEB._replace(nics=()),
]


def test_another_content_is_another_instance_and_the_same_is_the_same() -> None:
    instances = [documents.instance_of(documents.documents(told)) for told in (WEB, *CHANGES)]
    assert len(set(instances)) == len(instances)
    assert documents.instance_of(documents.documents(WEB)) == instances[0]


def test_a_guest_that_is_told_no_mtu_is_the_instance_that_it_was_before_there_was_one() -> None:
    """The ids are those of seeds as they were made before: none of those guests begins anew."""
    assert documents.instance_of(documents.documents(WEB)) == "vmops-4984294ece7d14dcca449f87"
    network = yaml.safe_load(documents.documents(WEB)[documents.NETWORK])
    assert not any("mtu" in nic for nic in network["ethernets"].values())


def test_an_mtu_is_told_of_each_interface_that_has_one() -> None:
    nics = (ETH0._replace(mtu=1446), GuestNic("eth1", "52:54:00:03:e9:02", mtu=9000))
    told = yaml.safe_load(documents.documents(WEB._replace(nics=nics))[documents.NETWORK])
    assert {name: nic["mtu"] for name, nic in told["ethernets"].items()} == {
        "eth0": 1446,
        "eth1": 9000,
    }


def parts(told: Seed) -> dict[str, bytes]:
    message = email.message_from_bytes(documents.documents(told)[documents.USER_DATA])
    bodies = [part for part in message.walk() if not part.is_multipart()]
    return {p.get_content_type(): bytes(p.get_payload(decode=True)) for p in bodies}


def test_a_script_of_the_operators_goes_beside_ours_byte_for_byte() -> None:
    script = b"#!/bin/sh\nprintf '\xff\\n'\n"
    both = parts(WEB._replace(user_data=script))
    assert both["text/x-shellscript"] == script
    assert yaml.safe_load(both["text/cloud-config"])["packages"] == ["tcpdump"]


def test_a_cloud_config_of_the_operators_is_merged_and_its_own_values_win() -> None:
    text = documents.documents(WEB._replace(user_data=b"#cloud-config\npackages: [vim]\n"))
    message = email.message_from_bytes(text[documents.USER_DATA])
    first, second = (part for part in message.walk() if not part.is_multipart())
    assert b"vim" in bytes(first.get_payload(decode=True))
    assert "no_replace" in second["X-Merge-Type"]
    assert "list(append)" in second["X-Merge-Type"]


@pytest.mark.parametrize(
    "bad", [b"packages: [x]\n", b" #cloud-config", b"\x1f\x8b", b"\xef\xbb\xbf#!"]
)
def test_user_data_that_cloud_init_would_pass_over_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="its first line is none that cloud-init knows"):
        documents.documents(WEB._replace(user_data=bad))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_is_written_is_the_same_in_json_and_yaml(value: object) -> None:
    text = documents._yaml(value)
    assert json.loads(text) == value
    assert yaml.safe_load(text) == value


def test_the_cd_holds_the_files_under_all_its_names() -> None:
    files = documents.documents(WEB)
    read = PyCdlib()
    read.open_fp(BytesIO(cd.iso(files)))
    assert read.pvd.volume_identifier.rstrip() == b"cidata"
    for kind in ("rr_path", "joliet_path"):
        for name, content in files.items():
            out = BytesIO()
            read.get_file_from_iso_fp(out, **{kind: f"/{name}"})
            assert out.getvalue() == content
    read.close()


def test_the_same_files_give_the_same_cd_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    files = documents.documents(WEB)
    first = cd.iso(files)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.5)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert cd.iso(files) == first
    monkeypatch.undo()
    time.tzset()
    from pycdlib import dates, headervd

    assert dates.time is headervd.time is time  # type: ignore[attr-defined]


READY = b"vmops: cloud-init has ended with 0 in x:\n"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"", None),
        (b"vmops: cloud-init has ended with 0 in other:\r\n", None),
        (b"login: vmops: cloud-init has ended with 0 in x: \r\n", Ending(0)),
        (b"vmops: cloud-init has ended with 2 in x: it was slow\n", Ending(2, "it was slow")),
        (b"vmops: cloud-init has ended with 1 in x: no\r\r\n", Ending(1, "no")),
        (b"vmops: cloud-init has ended with 1 in x: no\r\n" + READY, Ending(0)),
        (READY + b"vmops: cloud-init has ended with 1 in x: \xff\r\n", Ending(1, "\ufffd")),
        (READY + b"vmops: cloud-init has ended with 1 in y: no\r\n", Ending(0)),
        (b"vmops: cloud-init has ended with 0 in x:", None),
        (b"vmops: cloud-init has ended with 0000 in x:\n", None),
    ],
)
def test_the_end_of_cloud_init_is_read_from_the_console(said: bytes, read: Ending | None) -> None:
    assert ready.ending(said, "x") == read


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, True), (2, False), (127, True)])
def test_warnings_are_no_failure(code: int, failed: bool) -> None:
    assert Ending(code).failed is failed
