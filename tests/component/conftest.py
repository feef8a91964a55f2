"""Fake workers for the tests of this ring, and an operator without habits: no keys, no agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fabric
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vmops.remote.ssh.connection import close_all
from vmops.remote.ssh.keys.private import load_key

from .fake_worker import FakeWorker


def write_key(path: Path, passphrase: str = "") -> paramiko.PKey:
    """A new ed25519 key in OpenSSH's format."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption
        )
    )
    path.chmod(0o600)
    return load_key(str(path), passphrase or None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the operator, and of the user on the fake workers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def identity(home: Path) -> Path:
    """A key file that every fake worker lets in."""
    write_key(home / "identity")
    return home / "identity"


@pytest.fixture
def start(home: Path, identity: Path) -> Iterator[Callable[..., FakeWorker]]:
    """Starts fake workers: call it with the fields of `FakeWorker`."""
    started: list[FakeWorker] = []

    def start_one(**settings: Any) -> FakeWorker:
        key = write_key(home / f"host_key{len(started)}")
        fake = FakeWorker(host_key=key, home=home, **settings)
        fake.keys = fake.keys or [paramiko.PKey.from_path(identity)]
        fake.start()
        started.append(fake)
        return fake

    yield start_one
    close_all()
    for fake in started:
        fake.stop()


@pytest.fixture
def config(identity: Path) -> fabric.Config:
    """fab's configuration as `fab -i identity` makes it."""
    return fabric.Config(
        overrides={"connect_kwargs": {"key_filename": [str(identity)]}},
        system_ssh_path="/nowhere",
    )


def with_login(**connect_kwargs: Any) -> fabric.Config:
    return fabric.Config(overrides={"connect_kwargs": connect_kwargs})
