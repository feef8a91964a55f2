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

from vmops.core.devices import seed
from vmops.core.devices.seed import GuestNic, GuestUser, Seed

OPS = GuestUser("ops", ("ssh-ed25519 AAAA ops@laptop",))
ETH0 = GuestNic("eth0", "52:54:00:03:E9:01", ("10.1.1.5/24",), "10.1.1.1", ("10.1.1.2",))
WEB = Seed("web1", (OPS,), ("tcpdump",), nics=(ETH0, GuestNic("eth1", "52:54:00:03:e9:02")))


def config(told: Seed) -> dict[str, Any]:
    return dict(yaml.safe_load(seed.documents(told)[seed.USER_DATA]))


def test_what_is_asked_for_is_said() -> None:
    files = seed.documents(WEB)
    assert json.loads(files[seed.META_DATA])["local-hostname"] == "web1"
    said = config(WEB)
    assert said["packages"] == ["tcpdump"]
    (user,) = said["users"]
    assert user["name"] == "ops"
    assert user["ssh_authorized_keys"] == list(OPS.ssh_keys)


def test_interfaces_are_found_by_mac_and_named_with_no_network_around() -> None:
    network = yaml.safe_load(seed.documents(WEB)[seed.NETWORK])
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
    silent = seed.documents(WEB._replace(nics=(GuestNic("eth0", "52:54:00:03:e9:01"),)))
    assert seed.NETWORK not in silent


CHANGES = [
    WEB._replace(hostname="web2"),
    WEB._replace(users=(OPS._replace(name="dev"),)),
    WEB._replace(packages=()),
    WEB._replace(user_data=b"#!/bin/sh\n"),
    WEB._replace(user_data=b"#!/bin/sh\n\n"),
    WEB._replace(nics=(ETH0._replace(gateway=""),)),
    WEB._replace(nics=()),
]


def test_another_content_is_another_instance_and_the_same_is_the_same() -> None:
    instances = [seed.instance_of(seed.documents(told)) for told in (WEB, *CHANGES)]
    assert len(set(instances)) == len(instances)
    assert seed.instance_of(seed.documents(WEB)) == instances[0]


def parts(told: Seed) -> dict[str, bytes]:
    message = email.message_from_bytes(seed.documents(told)[seed.USER_DATA])
    bodies = [part for part in message.walk() if not part.is_multipart()]
    return {p.get_content_type(): bytes(p.get_payload(decode=True)) for p in bodies}


def test_a_script_of_the_operators_goes_beside_ours_byte_for_byte() -> None:
    script = b"#!/bin/sh\nprintf '\xff\\n'\n"
    both = parts(WEB._replace(user_data=script))
    assert both["text/x-shellscript"] == script
    assert yaml.safe_load(both["text/cloud-config"])["packages"] == ["tcpdump"]


def test_a_cloud_config_of_the_operators_is_merged_and_its_own_values_win() -> None:
    text = seed.documents(WEB._replace(user_data=b"#cloud-config\npackages: [vim]\n"))
    message = email.message_from_bytes(text[seed.USER_DATA])
    first, second = (part for part in message.walk() if not part.is_multipart())
    assert b"vim" in bytes(first.get_payload(decode=True))
    assert "no_replace" in second["X-Merge-Type"]
    assert "list(append)" in second["X-Merge-Type"]


@pytest.mark.parametrize(
    "bad", [b"packages: [x]\n", b" #cloud-config", b"\x1f\x8b", b"\xef\xbb\xbf#!"]
)
def test_user_data_that_cloud_init_would_pass_over_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="its first line is none that cloud-init knows"):
        seed.documents(WEB._replace(user_data=bad))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_is_written_is_the_same_in_json_and_yaml(value: object) -> None:
    text = seed._yaml(value)
    assert json.loads(text) == value
    assert yaml.safe_load(text) == value


def test_the_cd_holds_the_files_under_all_its_names() -> None:
    files = seed.documents(WEB)
    cd = PyCdlib()
    cd.open_fp(BytesIO(seed.iso(files)))
    assert cd.pvd.volume_identifier.rstrip() == b"cidata"
    for kind in ("rr_path", "joliet_path"):
        for name, content in files.items():
            out = BytesIO()
            cd.get_file_from_iso_fp(out, **{kind: f"/{name}"})
            assert out.getvalue() == content
    cd.close()


def test_the_same_files_give_the_same_cd_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    files = seed.documents(WEB)
    first = seed.iso(files)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.5)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert seed.iso(files) == first
    monkeypatch.undo()
    time.tzset()
    from pycdlib import dates, headervd

    assert dates.time is headervd.time is time  # type: ignore[attr-defined]


READY = b"vmops: cloud-init has ended with 0 in x\n"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"", None),
        (b"vmops: cloud-init has ended with 0 in other\r\n", None),
        (b"login: vmops: cloud-init has ended with 0 in x\r\n", "ready"),
        (b"vmops: cloud-init has ended with 2 in x\n", "ready"),
        (b"vmops: cloud-init has ended with 1 in x\r\n", "failed"),
        (
            b"vmops: cloud-init has ended with 1 in x\r\nvmops: cloud-init has ended with 0 in x\n",
            "ready",
        ),
        (b"vmops: cloud-init has ended with 0 in x", None),
    ],
)
def test_the_end_of_cloud_init_is_read_from_the_console(said: bytes, read: str | None) -> None:
    assert seed.ending(said, "x") == read
