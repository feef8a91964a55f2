"""`--dry image.remove` shows the removal of what is meant, and of nothing that never would go."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from .test_ssh_way import HOSTS, free_port, typed

IMAGE = 'sha256 = "{digest}"\nfile = "small.raw"\nformat = "raw"\n'


@pytest.mark.parametrize(("option", "is_shown"), [("--unused", False), ("--image=small", True)])
def test_an_image_of_hosts_toml_is_not_unused(option: str, is_shown: bool, tmp_path: Path) -> None:
    (tmp_path / "small.raw").write_bytes(bytes(4096))
    digest = hashlib.sha256(bytes(4096)).hexdigest()
    extra = f"\n[images.small]\n{IMAGE.format(digest=digest)}"
    hosts = HOSTS + extra
    done = typed(
        "fab", "--dry", "image.remove", option, folder=tmp_path, port=free_port(), hosts=hosts
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (f"base-{digest}" in done.stdout) is is_shown
    assert "on which no disk stands" in done.stdout
