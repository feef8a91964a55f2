"""`--dry` shows what a task would do, and connects nowhere: also those that talk to a terminal."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from .test_ssh_way import HOSTS, free_port, typed


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["ssh", "--vm", "a", "--", "uptime"], "ssh -o 'ProxyCommand=env "),
        (["ssh", "--vm", "a", "--stdio"], "add-port br-int DOOR tag=7"),
        (["ssh-config", "--vm", "a"], "ProxyCommand"),
        (["ping", "--vm", "a", "--to", "a2"], "DOOR"),
        (["capture", "--vm", "a", "--write", "f.pcap"], "tcpdump -n -U"),
        (["console", "--vm", "a"], "console.sock"),
        (["vnc", "--vm", "a"], "expire_password"),
        (["exec", "--vm", "a", "--", "true"], "guest-exec"),
        (["cp", "a:/x", "x"], "guest-file"),
        (["trace", "--from", "a", "--to", "a2"], "ovs"),
        (["verify"], "ovs"),
        (["drain", "--worker", "w1"], "fab migrate --vm VM --to WORKER"),
        (["drain", "--cold", "--worker", "w1"], "fab migrate --cold --vm VM --to WORKER"),
        (["undrain", "--worker", "w1"], "fab migrate --vm VM --to w1"),
        (["graph", "--output", "g.svg"], "ovs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_is_contacted(words: list[str], shown: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ear:
        ear.setblocking(False)
        done = typed("fab", "--dry", *words, folder=tmp_path, port=ear.getsockname()[1])
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout
        with pytest.raises(BlockingIOError):
            ear.accept()
    assert not (tmp_path / "f.pcap").exists()
    assert not (tmp_path / "g.svg").exists()


def test_networks_end_after_the_vms_as_they_do(tmp_path: Path) -> None:
    subnet = 'subnet = "192.0.2.0/24"'
    hosts = HOSTS.replace(subnet, f'{subnet}\ndhcp = true\nnetwork_node = "w1"')
    done = typed("fab", "--dry", "down", folder=tmp_path, port=free_port(), hosts=hosts)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rindex("a2: run directory") < done.stdout.index("blue: remove blue")
