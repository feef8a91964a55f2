"""What is exported, held against the tools that read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.exported import NAMES, leaving
from vmops.core.plan.export.libvirt import libvirt
from vmops.core.plan.export.script import script


@pytest.mark.parametrize("accel", ["tcg", "kvm"])
@pytest.mark.parametrize("name", NAMES)
def test_libvirts_schema_and_its_parser_take_the_domain(
    name: str, accel: str, tmp_path: Path
) -> None:
    file = tmp_path / "domain.xml"
    file.write_text(libvirt(leaving(name, accel=accel)).text)
    for argv in (
        ["virt-xml-validate", str(file), "domain"],
        # The test driver is in virsh itself: it needs no libvirtd, and forgets everything.
        ["virsh", "-c", "test:///default", "define", str(file)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("accel", ["tcg", "auto"])
@pytest.mark.parametrize("name", NAMES)
def test_every_script_is_one_that_shells_read(
    name: str, accel: str, shell: str, tmp_path: Path
) -> None:
    file = tmp_path / "vm.sh"
    file.write_text(script(leaving(name, accel=accel, home="")).text)
    done = subprocess.run([shell, "-n", str(file)], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    usage = subprocess.run([shell, str(file)], capture_output=True, check=False, timeout=60)
    assert usage.returncode == 2
    assert f"sudo sh {name}.sh start".encode() in usage.stdout


@pytest.mark.parametrize("accel", ["tcg", "auto"])
def test_shellcheck_has_nothing_to_say(accel: str, tmp_path: Path) -> None:
    files = []
    for name in NAMES:
        files.append(tmp_path / f"{name}.sh")
        files[-1].write_text(script(leaving(name, accel=accel, home="")).text)
    done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
