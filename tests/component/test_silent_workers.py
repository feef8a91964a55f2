"""A worker takes connections and says nothing: a command waits for it once, and tells it once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .own_folder import fab, lay_out

HOSTS = """
[workers.w1]
address = "127.0.0.1"
port = {first}

[workers.w2]
address = "127.0.0.1"
port = {second}

[networks.blue]
vlan_id = 8
network_node = "{node}"
subnet = "10.8.0.0/24"
dhcp = true

[vm_defaults]
ram_mb = 32
cores = 1
worker = "w1"

[vms.one]
qcow_image = "/a.qcow2"
interfaces = [{{ name = "eth0", network = "blue" }}]

[vms.two]
qcow_image = "/b.qcow2"
interfaces = [{{ name = "eth0", vlan_id = 7 }}]
"""


class Silent:
    """Listens on a port of 127.0.0.1, and counts who comes."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.callers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.callers.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for caller in self.callers:
            caller.close()


@pytest.fixture
def silent() -> Iterator[Sequence[Silent]]:
    found = Silent(), Silent()
    yield found
    for one in found:
        one.close()


@pytest.mark.parametrize("node", ["w1", "w2"])
@pytest.mark.parametrize(
    "words",
    [["plan"], ["up"], ["down", "--yes"]],
    ids=" ".join,
)
def test_it_is_waited_for_once_and_told_once(
    words: list[str], node: str, silent: Sequence[Silent], tmp_path: Path
) -> None:
    """Whether it has the VMs, serves their network, or both."""
    first, second = silent
    lay_out(tmp_path, HOSTS.format(first=first.port, second=second.port, node=node))
    done = fab(["-t", "1", *words], tmp_path)
    assert done.returncode == 3
    assert {len(one.callers) for one in silent} <= {0, 1}
    for name in ("w1", "w2"):
        errors = [line for line in done.stderr.splitlines() if line.startswith(f"error: {name}: ")]
        assert len(errors) <= 1, done.stderr
    assert "error: w1: " in done.stderr
