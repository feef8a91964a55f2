"""A folder with a fabfile and a hosts.toml of its own, and `fab` in it, as who has just begun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FAB = Path(sys.executable).with_name("fab")
ROOT = Path(__file__).parents[2]


def lay_out(folder: Path, hosts: str) -> None:
    """Write both files."""
    (folder / "fabfile.py").write_text("from vmops.tasks import ns\n")
    (folder / "hosts.toml").write_text(hosts)


def fab(words: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it there to its end, with nobody at the keyboard and no more of the environment."""
    known = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [FAB, *words],
        cwd=folder,
        env=known | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
