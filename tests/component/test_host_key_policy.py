from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabric
import paramiko
import pytest

from vmops.errors import HostKeyRefused
from vmops.remote.ssh.connection import close_all, connection
from vmops.remote.ssh.keys.known_hosts import fingerprint

from .conftest import write_key
from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]


def line_for(fake: FakeWorker, key: paramiko.PKey | None = None) -> str:
    key = key or fake.host_key
    return f"[127.0.0.1]:{fake.port} {key.get_name()} {key.get_base64()}\n"


def known_hosts(home: Path) -> Path:
    return home / "known_hosts"


def test_accept_new_adds_one_line_once(start: Start, home: Path, config: fabric.Config) -> None:
    fake = start()
    for _ in range(3):
        connection(fake.worker(), config=config)
        close_all()
    assert known_hosts(home).read_text() == line_for(fake)
    assert stat.S_IMODE(known_hosts(home).stat().st_mode) == 0o600


def test_the_folder_is_made_for_the_user_alone(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    connection(fake.worker(known_hosts=None), config=config)
    assert (home / ".ssh" / "known_hosts").read_text() == line_for(fake)
    assert stat.S_IMODE((home / ".ssh").stat().st_mode) == 0o700


def test_accept_new_keeps_what_is_there(start: Start, home: Path, config: fabric.Config) -> None:
    before = "# mine\n@cert-authority *.example ssh-rsa AAAA\n\nother ssh-rsa AAAA no newline"
    known_hosts(home).write_text(before)
    fake = start()
    connection(fake.worker(), config=config)
    assert known_hosts(home).read_text() == f"{before}\n{line_for(fake)}"


def test_many_at_once_add_each_their_line(start: Start, home: Path, config: fabric.Config) -> None:
    fakes = [start() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda fake: connection(fake.worker(), config=config), fakes))
    lines = known_hosts(home).read_text().splitlines(keepends=True)
    assert sorted(lines) == sorted(line_for(fake) for fake in fakes)


def test_strict_takes_a_known_key_and_writes_nothing(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    known_hosts(home).write_text(line_for(fake))
    assert connection(fake.worker(host_keys="strict"), config=config).is_connected
    assert known_hosts(home).read_text() == line_for(fake)


def test_strict_refuses_an_unknown_key(start: Start, home: Path, config: fabric.Config) -> None:
    fake = start()
    with pytest.raises(HostKeyRefused) as caught:
        connection(fake.worker(host_keys="strict"), config=config)
    assert fingerprint(fake.host_key.asbytes()) in str(caught.value)
    assert f"ssh-keyscan -p {fake.port} 127.0.0.1 >> {known_hosts(home)}" in caught.value.cure
    assert not known_hosts(home).exists()
    assert fake.logins == []


def test_the_file_that_hosts_toml_names_is_one_word_of_the_cure(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake, file = start(), home / "x $(touch y);z"
    with pytest.raises(HostKeyRefused) as caught:
        connection(fake.worker(host_keys="strict", known_hosts=str(file)), config=config)
    scan = f"ssh-keyscan -p {fake.port} 127.0.0.1 >> '{file}'"
    assert caught.value.cure.endswith(scan)


@pytest.mark.parametrize("policy", ["accept-new", "strict"])
def test_a_changed_key_is_refused(
    start: Start, home: Path, config: fabric.Config, policy: str
) -> None:
    fake = start()
    other = write_key(home / "other")
    known_hosts(home).write_text(f"# a comment\n{line_for(fake, other)}")
    with pytest.raises(HostKeyRefused, match="has changed") as caught:
        connection(fake.worker(host_keys=policy), config=config)
    said = str(caught.value)
    for word in (
        f"{known_hosts(home)}:2",
        fingerprint(other.asbytes()),
        fingerprint(fake.host_key.asbytes()),
        f"ssh-keygen -f {known_hosts(home)} -R '[127.0.0.1]:{fake.port}'",
    ):
        assert word in said
    assert caught.value.exit_code == 3
    assert fake.logins == []
    assert known_hosts(home).read_text().count("\n") == 2


def test_a_key_of_a_type_that_is_not_known_is_a_change(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    rsa = base64.b64encode(b"some rsa key").decode()
    known_hosts(home).write_text(f"[127.0.0.1]:{fake.port} ssh-rsa {rsa}\n")
    with pytest.raises(HostKeyRefused, match="has changed"):
        connection(fake.worker(), config=config)


@pytest.mark.parametrize("policy", ["accept-new", "strict"])
def test_a_revoked_key_is_refused(
    start: Start, home: Path, config: fabric.Config, policy: str
) -> None:
    fake = start()
    revoked = f"@revoked * {fake.host_key.get_name()} {fake.host_key.get_base64()}\n"
    known_hosts(home).write_text(line_for(fake) + revoked)
    with pytest.raises(HostKeyRefused, match=r"is revoked in .*:2"):
        connection(fake.worker(host_keys=policy), config=config)


def test_off_takes_anything_and_writes_nothing(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    known_hosts(home).write_text(line_for(fake, write_key(home / "other")))
    before = known_hosts(home).read_text()
    assert connection(fake.worker(host_keys="off"), config=config).is_connected
    assert known_hosts(home).read_text() == before


def test_a_file_that_cannot_be_read_is_not_an_empty_one(
    start: Start, home: Path, config: fabric.Config
) -> None:
    known_hosts(home).mkdir()
    with pytest.raises(HostKeyRefused, match="cannot be read"):
        connection(start().worker(), config=config)


def test_a_known_type_is_asked_for_first(start: Start, home: Path, config: fabric.Config) -> None:
    rsa = paramiko.RSAKey.generate(2048)
    fake = start(second_host_key=rsa)
    known_hosts(home).write_text(line_for(fake, rsa))
    opened = connection(fake.worker(host_keys="strict"), config=config)
    assert opened.live_transport.host_key_type == "rsa-sha2-512"
