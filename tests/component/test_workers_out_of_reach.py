"""No worker can be reached: exit code 3 from every task, whatever it asks the workers for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .own_folder import fab, lay_out

HOSTS = """
[workers.w1]
address = "127.0.0.1"
port = {port}

[workers.w2]
address = "127.0.0.2"
port = {port}

[networks.blue]
vlan_id = 8

[vm_defaults]
ram_mb = 32
cores = 1
interfaces = [{{ name = "eth0", vlan_id = 7 }}]

[vms.pinned]
worker = "w1"
qcow_image = "/a.qcow2"

[vms.free]
qcow_image = "/b.qcow2"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where hosts.toml names two addresses at which nobody listens."""
    path = tmp_path_factory.mktemp("out_of_reach")
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))
        lay_out(path, HOSTS.format(port=held.getsockname()[1]))
        yield path


@pytest.mark.parametrize(
    "words",
    [
        ["launch", "--vm", "free"],
        ["launch", "--vm", "free", "--here"],
        ["launch", "--vm", "pinned"],
        ["launch", "--vm", "pinned,free"],
        ["stop", "--vm", "free"],
        ["stop", "--vm", "pinned,free"],
        ["destroy", "--vm", "free", "--yes"],
        ["destroy", "--vm", "pinned", "--yes"],
        ["pid", "--vm", "free"],
        ["wait", "--vm", "free", "--timeout", "1"],
        ["console", "--vm", "free"],
        ["exec", "--vm", "free", "--", "true"],
        ["cp", "free:/x", "x"],
        ["nic.down", "--vm", "free:eth0"],
        ["migrate", "--vm", "free", "--to", "w2"],
        ["status", "--vm", "free"],
        ["up"],
        ["plan", "--vm", "free"],
        ["down", "--vm", "free", "--yes"],
        ["place", "--vm", "free"],
        ["drain", "--worker", "w1"],
        ["undrain", "--worker", "w1", "--stay"],
        ["down", "--yes"],
        ["ps"],
        ["doctor"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_a_task_that_reached_nobody_ends_with_3(words: list[str], folder: Path) -> None:
    _check(words, folder)


def test_networks_stay_where_vms_may_still_run(folder: Path) -> None:
    said = _check(["down", "--yes"], folder)
    assert "networks stay, as VMs may still run; all the same: fab net.down" in said
    assert "networks stay" not in _check(["down", "--yes", "--worker", "w1"], folder)


def _check(words: list[str], folder: Path) -> str:
    done = fab(words, folder)
    assert done.returncode == 3, done
    assert "refuses connections" in done.stderr
    return done.stderr
