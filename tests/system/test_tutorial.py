"""docs/tutorial.md: every command of it is run, in order, and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from vmops.inventory_file import load
from vmops.lab import Lab

from .conftest import free_network, require_a_lab
from .operator import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
FILES = re.findall(r"```(?:toml|sh)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
REST = "..."
"""Stands on the page for any output."""

ELSEWHERE = ("scripts/demo", ". .venv/bin/activate")
"""What CI does by itself: a job of its own, and the environment that runs this test."""


class Step(NamedTuple):
    """A command, and the lines that it prints according to the page."""

    command: str
    printed: list[str]


def steps() -> list[Step]:
    found: list[Step] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            elif line.startswith("> "):
                found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
            else:
                found[-1].printed.append(line)
    return found


def test_a_class_takes_few_lines(tmp_path: Path) -> None:
    """Of eight VMs on three workers: what somebody has to write, and nothing is left out."""
    (text,) = [text for name, text in FILES if name == "class.toml"]
    (tmp_path / "class.toml").write_text(text)
    listed = load(tmp_path / "class.toml")
    assert (len(listed.vms), len(listed.workers)) == (8, 3)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) < 25


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder like a clone, and the environment of somebody who reads the page."""
    require_a_lab()
    shutil.copy(ROOT / "fabfile.py", tmp_path)
    lab = tmp_path / "lab"
    yield (
        tmp_path,
        {
            **{key: value for key, value in os.environ.items() if key != "VMOPS_HOSTS"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VMOPS_LAB_DIR": str(lab),
            "NO_COLOR": "1",
        },
    )
    Lab(lab).down()


def plain(text: str) -> str:
    """Without numbers, which differ, and without the widths that follow from them."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", text)).strip()


def test_every_command_does_what_the_page_says(reader: tuple[Path, dict[str, str]]) -> None:
    folder, env = reader
    network = free_network()
    here = {"/run/vmops-lab": env["VMOPS_LAB_DIR"], "127.0.10.": f"{network}."}
    here["lab.up --workers 3"] = f"lab.up --workers 3 --network {network}"

    def local(text: str) -> str:
        for ours, theirs in here.items():
            text = text.replace(ours, theirs)
        return text

    for name, content in FILES:
        (folder / name).write_text(local(content))
    done = [step for step in steps() if step.command not in ELSEWHERE]
    assert len(done) > 20
    exports = [step.command for step in done if step.command.startswith(("export ",))]
    for step in done:
        before = "\n".join(exports) if not step.command.startswith("fab lab.up") else ""
        ran = subprocess.run(
            ["bash", "-c", f"{before}\n{local(step.command)}"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        assert_printed(local("\n".join(step.printed)), ran.stdout, step.command)
        something_to_do = 4 if step.command == "fab plan" else 0
        assert ran.returncode == something_to_do, (step.command, ran.stdout)


def assert_printed(page: str, out: str, command: str) -> None:
    said, expected = plain(out), plain(page)
    if expected.endswith(REST):
        assert said.startswith(expected.removesuffix(REST).strip()), (command, out)
    else:
        assert said == expected, (command, out)


def test_the_file_is_short() -> None:
    (text,) = [content for name, content in FILES if name.endswith(".toml")]
    assert len([line for line in text.splitlines() if line.strip()]) < 25
