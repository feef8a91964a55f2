"""A real sshd, and logins at it by an ssh_config of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.remote.run import run
from vmops.remote.ssh.connection import close_all, connection

from .sshd import HERE, ME, Sshd, new_key, running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An operator's home without habits."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield tmp_path
    close_all()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One that most tests share. It lets variables in, and knows an authority."""
    folder = tmp_path_factory.mktemp("sshd")
    new_key(folder / "ca")
    options = f"AcceptEnv LAB_* SENT\nTrustedUserCAKeys {folder}/ca.pub\nAllowAgentForwarding yes"
    with running(folder, options) as found:
        yield found


def written(home: Path, sshd: Sshd, text: str, *, key: Path | None = None) -> Path:
    """An ssh_config for `w1`, with `text` on top."""
    (home / "known_hosts").touch()
    config = home / "ssh_config"
    config.write_text(
        f"Host w1\n{text}\n"
        f"Host *\n HostName {HERE}\n Port {sshd.port}\n User {ME}\n IdentitiesOnly yes\n"
        f" IdentityFile {key or sshd.key}\n UserKnownHostsFile {home}/known_hosts\n"
        " StrictHostKeyChecking accept-new\n GlobalKnownHostsFile none\n"
    )
    return config


def log_in(config: Path) -> fabric.Connection:
    """As `fab -S config -H w1` does."""
    close_all()
    found = fabric.Config(runtime_ssh_path=str(config))
    return connection(Worker("w1", address="w1"), config=found)


def printed(config: Path, command: str) -> str:
    found = fabric.Config(runtime_ssh_path=str(config))
    return run(Worker("w1", address="w1"), command, time_limit=20, config=found).stdout.decode()
