from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from vmops.remote.ssh.keys import private
from vmops.remote.ssh.keys.private import load_key


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were parsed, one entry for each time."""
    files: list[str] = []
    real = private._from_file

    def noting(path: str, passphrase: str | None) -> paramiko.PKey:
        files.append(path)
        return real(path, passphrase)

    monkeypatch.setattr(private, "_from_file", noting)
    return files


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(file))
    return file


def test_a_key_is_parsed_once_whoever_asks(key_file: Path, parsed: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_key(str(key_file), None), range(16)))
    assert len(parsed) == 1
    assert len({id(key) for key in keys}) == 1


def test_a_key_that_changed_is_read_again(key_file: Path, parsed: list[str]) -> None:
    before = load_key(str(key_file), None)
    paramiko.ECDSAKey.generate().write_private_key_file(str(key_file))
    os.utime(key_file, ns=(0, 12345))
    assert load_key(str(key_file), None) != before
    assert len(parsed) == 2


def test_a_passphrase_is_only_for_the_keys_that_need_one(key_file: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(locked), password="sesame")
    assert load_key(str(key_file), "sesame").get_name() == "ecdsa-sha2-nistp256"
    assert load_key(str(locked), "sesame").get_name() == "ssh-rsa"
    with pytest.raises(TypeError):
        load_key(str(locked), None)
    with pytest.raises(paramiko.SSHException, match="the passphrase does not open it"):
        load_key(str(locked), "mustard")
