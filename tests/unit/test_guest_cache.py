"""The cache of guests' disks: built once, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guests.cache import built_once, cache_directory


def disk(work: Path) -> Path:
    (work / "leftover").touch()
    path = work / "disk"
    path.write_text("whole")
    return path


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_is_built_once_and_leaves_only_itself(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(work: Path) -> Path:
        built.append(work)
        return disk(work)

    first, second = (built_once(tmp_path, "x", inputs=["a"], build=build) for _ in range(2))
    assert first == second
    assert first.read_text() == "whole"
    assert len(built) == 1
    assert visible(tmp_path) == [first.name]


def test_is_built_anew_when_an_input_changes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    paths = set()
    for content in ("a", "b", "a"):
        source.write_text(content)
        paths.add(built_once(tmp_path / "cache", "x", inputs=[source, "s"], build=disk))
    assert len(paths) == 2


def test_inputs_do_not_run_into_each_other(tmp_path: Path) -> None:
    paths = {
        built_once(tmp_path, "x", inputs=inputs, build=disk)
        for inputs in (["ab", "c"], ["a", "bc"])
    }
    assert len(paths) == 2


def test_an_interrupted_build_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def interrupted(work: Path) -> Path:
        disk(work)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built_once(tmp_path, "x", inputs=["a"], build=interrupted)
    assert visible(tmp_path) == []
    assert built_once(tmp_path, "x", inputs=["a"], build=disk).read_text() == "whole"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x", "CI": "true", "HOME": "/h"}, "/x/vmops/guests"),
        ({"HOME": "/h"}, "/h/.cache/vmops/guests"),
    ],
)
def test_cache_directory_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("XDG_CACHE_HOME", "CI", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(expected)
