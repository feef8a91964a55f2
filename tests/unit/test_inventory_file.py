"""hosts.toml on disk: what can be wrong with the file itself."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from vmops import inventory_file
from vmops.core.inventory.complaints import InvalidValue
from vmops.errors import InventoryError
from vmops.inventory_file import load, load_once


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(None, "there is no such file", id="no-file"),
        pytest.param(b"# a\n\n# \xe4\n", "line 3 is not UTF-8: byte 0xe4", id="latin-1"),
        pytest.param(b"x", "this is not TOML: Expected '='", id="not-toml"),
        pytest.param(b"[default]", "default: is not a section", id="fault"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "hosts.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_directory_is_no_inventory(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'[workers.w1]\r\naddress = "10.0.0.1"\r\n')
    assert list(load(path).workers) == ["w1"]


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text('[workers.w1]\naddress = "192.0.2.1"\n')
    assert load(str(path)) == load(path)


FILES = """
[defaults]
identity_file = "keys/lab"
known_hosts = "known_hosts"
[workers.w1]
address = "192.0.2.1"
[workers.w2]
address = "192.0.2.2"
identity_file = "~/.ssh/own"
known_hosts = "none"
[workers.w3]
address = "192.0.2.3"
identity_file = "/etc/key"
known_hosts = "../known"
"""


def files_of(path: Path | str) -> dict[str, tuple[str | None, str | None]]:
    listed = load(path)
    workers = [*listed.workers.values(), listed.worker("198.51.100.1")]
    return {worker.address: (worker.identity_file, worker.known_hosts) for worker in workers}


@pytest.mark.parametrize("given", ["hosts.toml", "../lab/hosts.toml", "{}/hosts.toml"])
def test_relative_paths_are_taken_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "hosts.toml").write_text(FILES)
    monkeypatch.chdir(lab)
    from_there = files_of(given.format(lab))
    assert from_there == {
        "192.0.2.1": (f"{lab}/keys/lab", f"{lab}/known_hosts"),
        "192.0.2.2": ("~/.ssh/own", "none"),
        "192.0.2.3": ("/etc/key", f"{tmp_path}/known"),
        "198.51.100.1": (f"{lab}/keys/lab", f"{lab}/known_hosts"),
    }
    (lab / "below").mkdir()
    monkeypatch.chdir(lab / "below")
    assert files_of("../hosts.toml") == from_there


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A pipe that FILES goes through once."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Thread(target=path.write_text, args=(FILES,), daemon=True).start()
    return path


@pytest.mark.parametrize("read", [load, load_once])
def test_a_fifo_is_read_once_and_remembered(
    fifo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    first = read(fifo)
    assert read(fifo) == first
    assert first.workers["w1"].identity_file == f"{tmp_path}/keys/lab"


def test_a_pipe_that_was_read_before_is_not_an_empty_inventory() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    try:
        with pytest.raises(InventoryError, match="cannot be read: it is a pipe with nothing in it"):
            load(f"/dev/fd/{reader}")
    finally:
        os.close(reader)


def test_a_device_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_file, "MAX_BYTES", 1 << 20)
    with pytest.raises(InventoryError, match="/dev/zero: cannot be read: it holds more than 1 MiB"):
        load("/dev/zero")


def test_a_file_is_read_again_when_it_has_changed_only(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(FILES)
    first = load_once(path)
    assert load_once(path) is first
    assert load_once(str(path)) is first
    path.write_text(FILES + "[vms]\n")
    assert load_once(path) is not first
    path.unlink()
    with pytest.raises(InventoryError, match="there is no such file"):
        load_once(path)


def test_a_file_with_faults_is_refused_each_time(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text("[default]\n")
    for _ in range(2):
        with pytest.raises(InvalidValue, match="is not a section"):
            load_once(path)
    assert gc.isenabled()


def test_two_tasks_of_a_chain_know_what_came_out_of_one_pipe(tmp_path: Path) -> None:
    hosts = '[workers.w1]\naddress = "192.0.2.1"\n[vms.vm1]\nvm_id = 1\nram_mb = 1\ncores = 1\n'
    (tmp_path / "hosts").write_text(hosts + 'vnc_port = 5901\nqcow_image = "/x"\n')
    vmops = f"{sys.executable} -c 'from vmops.tasks.program import main; main()'"
    line = f"VMOPS_HOSTS=<(cat hosts) {vmops} --dry pid --vm vm1 pid --vm vm1"
    ran = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("w1 (192.0.2.1)") == 2


def names_in(listed: Any) -> list[str]:
    return list(listed.workers)


def test_an_inventory_can_be_pickled_copied_and_given_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(FILES)
    listed = load(path)
    assert (
        pickle.loads(pickle.dumps(listed)) == copy.deepcopy(listed) == copy.copy(listed) == listed
    )
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(names_in, (listed,)) == ["w1", "w2", "w3"]
    with pytest.raises(TypeError):
        copy.deepcopy(listed).vms["x"] = None  # type: ignore[index]
