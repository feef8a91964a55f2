"""A real sshd on a port of 127.0.0.1, as the user who runs the tests, and ssh beside it."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vmops.wait import wait_for

HERE = "127.0.0.1"


def keygen(*words: object) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def new_key(path: Path, kind: str = "ed25519") -> Path:
    """A key without a passphrase, and its .pub."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keygen("-t", kind, "-N", "", "-C", "", "-f", path)
    return path


def public(path: Path) -> str:
    """The type and the key, as they stand in known_hosts."""
    return Path(f"{path}.pub").read_text().strip()


class Sshd(NamedTuple):
    """One that runs. `folder` has its keys, `key` opens it."""

    folder: Path
    port: int

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def host_key(self) -> Path:
        return self.folder / "host_key"

    @property
    def known_line(self) -> str:
        return f"[{HERE}]:{self.port} {public(self.host_key)}\n"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def running(folder: Path, options: str = "") -> Iterator[Sshd]:
    """One with these further options. The authorized key is `folder/key`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("key", "host_key"):
        if not (folder / name).exists():
            new_key(folder / name)
    (folder / "authorized_keys").write_text(public(folder / "key") + "\n")
    with socket.create_server((HERE, 0)) as found:
        port = int(found.getsockname()[1])
    (folder / "sshd_config").write_text(
        f"{options}\n"
        f"ListenAddress {HERE}:{port}\n"
        f"HostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        "StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPidFile none\n"
    )
    _be_lenient(folder / "sshd_config")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    words: list[str | Path] = [
        "/usr/sbin/sshd",
        "-D",
        "-f",
        folder / "sshd_config",
        "-E",
        folder / "log",
    ]
    with subprocess.Popen(words) as process:
        try:
            assert wait_for(lambda: _listens(port), 10), (folder / "log").read_text()
            yield Sshd(folder, port)
        finally:
            process.terminate()


def _be_lenient(config: Path) -> None:
    """Leave the penalties for failed logins, where there are any: tests fail many on purpose."""
    lenient = "PerSourcePenalties no"
    words: list[str | Path] = ["/usr/sbin/sshd", "-t", "-f", config, "-o", lenient]
    if not subprocess.run(words, capture_output=True, check=False).returncode:
        config.write_text(f"{lenient}\n{config.read_text()}")


def _listens(port: int) -> bool | None:
    try:
        socket.create_connection((HERE, port), 1).close()
    except OSError:
        return None
    return True


def ssh_logs_in(config: Path, name: str = "w1") -> bool:
    """Does ssh, with that configuration?"""
    words: list[str | Path] = [
        "ssh",
        "-F",
        config,
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
        name,
        "true",
    ]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return done.returncode == 0


ME = getpass.getuser()
