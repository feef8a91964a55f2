"""The words of the console command that are refused before any task begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vmops.tasks.program import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("stop --vm vm1 --timeout abc", "'abc' is no number", id="whole-number"),
        pytest.param("status --interval soon", "'soon' is no number", id="number"),
        pytest.param("-t abc ps", "'abc' is no number", id="fabs-own-number"),
        pytest.param("ps --nonsense", "--nonsense", id="unknown-option"),
        pytest.param("-H worker1, ps", "no worker is named", id="comma-at-the-end"),
        pytest.param("-H @ ps", "no worker is named", id="user-alone"),
        pytest.param("-H worker1:ssh ps", "the port must be a number", id="port"),
    ],
)
def test_words_that_cannot_be(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vmops", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_an_inventory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VMOPS_HOSTS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vmops", "ps"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"{tmp_path}/hosts.toml: there is no such file" in capsys.readouterr().err
