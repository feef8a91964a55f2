"""Image chains on a worker, as tests ask for them, and images to make them of."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vmops.core.script import functions
from vmops.core.tools import image_chain
from vmops.core.tools.image_chain import Chain

USER = "nobody"


def call(*words: str, user: str = USER, shell: str = "dash") -> str:
    functions_needed = functions.needed("image_chains image_holders")
    script = f'export VMOPS_USER={user} VMOPS_HOME=/home/x LC_ALL=C\n{functions_needed}\n"$@"'
    done = subprocess.run(
        [shell, "-c", script, "vmops", *words], capture_output=True, timeout=30, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode()


def read(path: Path, *, user: str = USER, format: str = "qcow2", shell: str = "dash") -> Chain:
    words = image_chain.read_chain(str(path), format=format).words()
    return image_chain.parse(call(*words, user=user, shell=shell))


def complaints(path: Path, *, user: str = USER, format: str = "qcow2") -> list[str]:
    """What there is against an image, in which the worker's own judgment agrees."""
    chain = read(path, user=user, format=format)
    found = [entry.what for entry in image_chain.objections(chain, user=user)]
    assert is_sound(path, user=user, format=format) == (not found), found
    return found


def is_sound(
    path: Path, *, user: str = USER, format: str = "qcow2", also: Path | None = None
) -> bool:
    paths = [each for each in (path, also) if each is not None]
    return not against(paths, user=user, format=format)


def against(paths: Sequence[Path], *, user: str = USER, format: str = "qcow2") -> bytes:
    """What the worker says where these are judged there, as a script is run; nothing if all is
    well."""
    text = functions.needed("sound_images")
    known = f"trap '' PIPE; export VMOPS_USER={user} VMOPS_HOME=/home/x LC_ALL=C"
    words = image_chain.are_sound([(str(path), format) for path in paths]).words()
    argv = ["dash", "-c", f'{known}\n{text}\n"$@"', "vmops", *words]
    done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
    assert bool(done.returncode) == bool(done.stderr), done
    return done.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of that user's, which he can reach: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="vmops-images-", dir="/var/tmp"))
    shutil.chown(path, USER)
    yield path
    shutil.rmtree(path)


def image(path: Path, *words: str) -> Path:
    """A qcow2 image of that user's, of 1 MiB."""
    create = ["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "1M"]
    subprocess.run(create, check=True, timeout=30)
    shutil.chown(path, USER)
    return path


def overlay(path: Path, backing: str, format: str = "qcow2") -> Path:
    """An image whose header names any backing file, checked by nobody."""
    return image(path, "-u", "-F", format, "-b", backing)


def info(path: Path) -> dict[str, Any] | None:
    """What qemu-img says of this one image taken for qcow2; None where it refuses it."""
    words = ["qemu-img", "info", "-U", "-f", "qcow2", "--output=json", str(path)]
    done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else None


QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "16", "-S"]


@contextmanager
def running(path: Path) -> Iterator[int]:
    """A QEMU that has the image open, as one that vmops starts, and its PID."""
    words = [*QEMU, "-drive", f"file={path},format=qcow2", "-qmp", "stdio"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
        assert qemu.stdout is not None
        assert b"QMP" in qemu.stdout.readline()
        yield qemu.pid
        qemu.kill()
