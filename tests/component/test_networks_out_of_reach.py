"""Networks and tunnels of a worker that cannot be reached: that is never nothing to do."""

from __future__ import annotations

import socket

import fabric
import pytest

from vmops.core.devices.network.mesh import Mesh
from vmops.core.inventory.model import Worker
from vmops.errors import WorkerUnreachable
from vmops.ops.network.serving import remove
from vmops.ops.route import Route


@pytest.mark.parametrize("names", [[], ["blue"], ["blue", "red"]])
def test_what_could_not_be_looked_at_is_told(names: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    worker = Worker("w1", address="127.0.0.1", port=port)
    outcomes = remove(Route(worker, fabric.Config()), names, mesh=Mesh("br-int"))
    assert outcomes
    assert all(isinstance(one.error, WorkerUnreachable) for one in outcomes)
