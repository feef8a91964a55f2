from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path

import pytest

from vmops.remote.ssh.keys.known_hosts import fingerprint, known_keys

KEY = base64.b64encode(b"a key").decode()
OTHER = base64.b64encode(b"another").decode()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


@pytest.mark.parametrize(
    ("line", "name", "found"),
    [
        pytest.param(f"host ssh-ed25519 {KEY}", "host", True, id="plain"),
        pytest.param(f"host ssh-ed25519 {KEY} a comment", "host", True, id="comment"),
        pytest.param(f"host2 ssh-ed25519 {KEY}", "host", False, id="longer name"),
        pytest.param(f"Host ssh-ed25519 {KEY}", "host", True, id="other case"),
        pytest.param(f"a,host,b ssh-ed25519 {KEY}", "host", True, id="in a list"),
        pytest.param(f"10.0.*.? ssh-ed25519 {KEY}", "10.0.7.1", True, id="pattern"),
        pytest.param(f"10.0.*.? ssh-ed25519 {KEY}", "10.0.7.12", False, id="pattern too short"),
        pytest.param(f"*,!host ssh-ed25519 {KEY}", "host", False, id="negated"),
        pytest.param(f"*,!host ssh-ed25519 {KEY}", "guest", True, id="another is negated"),
        pytest.param(f"[host]:2222 ssh-ed25519 {KEY}", "[host]:2222", True, id="port"),
        pytest.param(f"[host]:2222 ssh-ed25519 {KEY}", "host", False, id="port, wanted without"),
        pytest.param(f"host ssh-ed25519 {KEY}", "[host]:2222", False, id="no port, wanted with"),
        pytest.param(f"[10.0.*]:2222 ssh-rsa {KEY}", "[10.0.1.1]:2222", True, id="pattern, port"),
        pytest.param(f"{hashed('host')} ssh-ed25519 {KEY}", "host", True, id="hashed"),
        pytest.param(f"{hashed('host')} ssh-ed25519 {KEY}", "tsoh", False, id="hashed, other"),
        pytest.param(f"{hashed('[h]:22')} ssh-ed25519 {KEY}", "[h]:22", True, id="hashed, port"),
        pytest.param(f"|1|broken ssh-ed25519 {KEY}", "host", False, id="hash broken"),
        pytest.param(f"# host ssh-ed25519 {KEY}", "host", False, id="commented out"),
        pytest.param("host ssh-ed25519 !!!", "host", False, id="not base64"),
        pytest.param("host ssh-ed25519", "host", False, id="no key"),
        pytest.param("host", "host", False, id="host only"),
        pytest.param("", "host", False, id="empty"),
    ],
)
def test_which_lines_are_about_a_host(tmp_path: Path, line: str, name: str, found: bool) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"before ssh-ed25519 {OTHER}\n{line}\n\nafter ssh-rsa {OTHER}")
    keys = list(known_keys(name, str(file)))
    assert [key.blob for key in keys] == ([b"a key"] if found else [])
    assert all(key.place == f"{file}:2" and not key.revoked for key in keys)


def test_a_revoked_key_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"@revoked * ssh-ed25519 {KEY}\nhost ssh-ed25519 {OTHER}\n")
    assert [(key.revoked, key.line) for key in known_keys("host", str(file))] == [
        (True, 1),
        (False, 2),
    ]


def test_an_authority_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"@cert-authority *.example ssh-ed25519 {KEY}\nhost ssh-ed25519 {OTHER}\n")
    assert [(key.authority, key.line) for key in known_keys("w1.example", str(file))] == [(True, 1)]
    assert [key.authority for key in known_keys("host", str(file))] == [False]


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(b"\xff\xfe\x00 garbage \xff\n*\xff ssh-rsa AAAA\nhost ssh-rsa " + KEY.encode())
    assert [key.line for key in known_keys("host", str(file))] == [3]


def test_no_file_holds_no_keys(tmp_path: Path) -> None:
    assert list(known_keys("host", str(tmp_path / "none"))) == []


def test_three_thousand_hashed_lines_take_no_time(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    lines = [f"{hashed(f'host{number}')} ssh-ed25519 {KEY}" for number in range(3000)]
    file.write_text("\n".join(lines))
    started = time.process_time()
    assert [key.line for key in known_keys("host2999", str(file))] == [3000]
    assert time.process_time() - started < 0.5


def test_a_fingerprint_looks_as_openssh_shows_it() -> None:
    blob = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    assert fingerprint(blob) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
