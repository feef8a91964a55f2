"""The names at the top of the package, which other programs import."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

import vmops
from vmops import errors
from vmops.core.inventory.complaints import Fault, InvalidValue


@pytest.mark.parametrize("name", vmops.__all__)
def test_a_public_name_is_what_its_module_calls_so(name: str) -> None:
    value: Any = getattr(vmops, name)
    assert value.__name__ == name
    assert value.__doc__


def test_all_errors_are_public() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.VmopsError)
    }
    assert tree <= set(vmops.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vmops' has no attribute 'vm'"):
        _ = vmops.vm


def test_the_package_alone_imports_nothing_else() -> None:
    line = "import sys, vmops; print([m for m in sys.modules if m.startswith('vmops.')])"
    ran = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


FAILED = errors.LaunchFailed("QEMU said no", worker="w1", vm="vm1", cure="ask again")


@pytest.mark.parametrize(
    "error",
    [
        FAILED,
        errors.InventoryError("a: b", "c: d", cure="mend it"),
        InvalidValue("hosts.toml", [Fault(("vms", "vm1", "cores"), "0: must be 1 to 255")]),
        errors.CommandFailed("false failed", evidence=errors.Evidence(("false",), 1, "no")),
        errors.WorkerUnreachable("no route", worker="w2"),
        errors.NotAsked("it may run", reasons=[errors.WorkerUnreachable("no")], vm="vm1"),
        errors.FleetFailed([FAILED, errors.NotRunning("is not running", vm="vm2")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_from_another_process(error: errors.VmopsError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.exit_code) == (str(error), error.args, error.exit_code)
    mine, others = ({key: str(value) for key, value in vars(one).items()} for one in (error, again))
    assert others == mine
