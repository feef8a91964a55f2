"""Completion in the shells that it is for: the documented line is read, and Tab is pressed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

VMOPS = str(Path(sys.executable).parent / "vmops")
INSTALL = {
    "bash": 'eval "$(vmops --print-completion-script bash)"',
    "zsh": 'eval "$(vmops --print-completion-script zsh)"',
    "fish": "vmops --print-completion-script fish | source",
}
COMMANDS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hosts.toml").write_text(
        '[workers.w1]\naddress = "192.0.2.1"\n[vms.webserver]\n'
        'interfaces = [{ name = "eth0" }]\n[vms.db]\n'
        '[vm_defaults]\ninterfaces = [{ name = "eth1" }]\n'
    )
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(VMOPS).parent}:{os.environ['PATH']}"
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TERM": "dumb", "PS1": "% "}
    return {**os.environ, "PATH": path, **home}


@pytest.mark.parametrize("shell", INSTALL)
def test_the_documented_line_is_the_one_that_is_tried(shell: str) -> None:
    assert INSTALL[shell] in (ROOT / "docs" / "completion.md").read_text(encoding="utf-8")


COMPLETED = {
    "scre": "screenshot",
    "launch --stri": "launch --strict",
    "launch --vm web": "launch --vm webserver",
    "launch --vm=web": "launch --vm=webserver",
    "launch --vm db,w": "launch --vm db,webserver",
    "-H w": "-H w1",
    "migrate --to w": "migrate --to w1",
    "nic.down --vm db:": "nic.down --vm db:eth1",
    "ping --to webserver:e": "ping --to webserver:eth0",
    "ping --to=db:e": "ping --to=db:eth1",
    "lab.fault --kind st": "lab.fault --kind strand",
    "script ./a-f": "script ./a-file",
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("program", ["fab", "vmops"])
def test_tab_completes(shell: str, program: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (folder / "a-file").touch()
    (folder / "fabfile.py").write_text("from vmops.tasks import ns\n")
    command, *options = COMMANDS[shell]
    sitting: Any = pexpect.spawn(
        command, options, cwd=str(folder), env=environment(folder), encoding="utf-8", timeout=30
    )
    sitting.setwinsize(24, 200)
    sitting.sendline(INSTALL[shell])
    sitting.sendline(f"{program}() {{ printf 'ran: <%s>\\n' \"$*\"; }}; echo rea''dy")
    sitting.expect_exact("ready\r\n")
    for typed, whole in COMPLETED.items():
        sitting.sendline(f"{program} {typed}\t")
        sitting.expect(r"ran: <(.*)>")
        assert sitting.match[1].strip() == whole
    sitting.close(force=True)


def test_fish_completes(folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish here")
    (folder / "a-file").touch()
    asked = "; ".join(f"complete -C'vmops {typed}'; echo =" for typed in COMPLETED)
    ran = subprocess.run(
        ["fish", "--no-config", "-c", f"{INSTALL['fish']}; {asked}"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = [line.partition("\t")[0] for line in ran.stdout.splitlines()]
    assert found == [word for whole in COMPLETED.values() for word in (whole.split()[-1], "=")]
