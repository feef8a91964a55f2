"""The lab for the tests of this ring: a directory and addresses of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmops.errors import WorkFailed
from vmops.lab import Lab
from vmops.lab.tools import require_tools

from .operator import Operator

PORT = 2222


def free_network() -> str:
    """Three octets under which nobody listens; two test runs at once begin at different ones."""
    for step in range(200):
        network = f"127.0.{20 + (os.getpid() + step) % 200}"
        try:
            with socket.create_server((f"{network}.1", PORT)):
                return network
        except OSError:
            continue
    raise AssertionError("no free address for a lab")


def require_a_lab() -> None:
    """Skip where no lab can be; in CI that is a failure."""
    try:
        require_tools()
    except WorkFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of two workers that all tests share: leave it as it was."""
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.up(2, network=free_network(), port=PORT, owner=os.getpid())
    yield lab
    lab.down()


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Labs for one test alone, to break: call it as `Lab.up`."""
    require_a_lab()
    made: list[Lab] = []

    def up(workers: int = 1, **settings: object) -> Lab:
        made.append(Lab(tmp_path / f"lab{len(made)}"))
        settings = {"network": free_network(), "owner": os.getpid(), **settings}
        made[-1].up(workers, **settings)  # type: ignore[arg-type]
        return made[-1]

    yield up
    for lab in made:
        lab.down()


@pytest.fixture
def operator(lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """An operator at the shared lab; what they leave behind is removed."""
    somebody = Operator(lab, tmp_path)
    somebody.write()
    yield somebody
    somebody.clean_up()
