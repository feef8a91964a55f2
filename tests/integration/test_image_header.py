"""The header of an image against what qemu-img writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vmops.core.images.header import Header, objection, read_header


def made(path: Path, *words: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", *words[:-1], path, words[-1]], check=True)
    return path


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_the_header_is_what_qemu_img_wrote(tmp_path: Path, compat: str) -> None:
    base = made(tmp_path / "base", "-f", "qcow2", "-o", f"compat={compat}", "70M")
    over = made(tmp_path / "over", "-f", "qcow2", "-F", "qcow2", "-b", str(base), "80M")
    assert read_header(base.read_bytes()) == Header(70 << 20, False, False)
    assert read_header(over.read_bytes()) == Header(80 << 20, True, False)


def test_data_in_another_file_is_told(tmp_path: Path) -> None:
    options = f"data_file={tmp_path / 'data'}"
    path = made(tmp_path / "base", "-f", "qcow2", "-o", options, "1M")
    assert read_header(path.read_bytes()) == Header(1 << 20, False, True)
    assert "data file" in objection(path.read_bytes(), "qcow2")[0]
