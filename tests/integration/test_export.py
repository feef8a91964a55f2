"""What is exported, held against the tools that read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exported import HOSTS, NAMES, in_ovn, leaving
from vmops.core.plan.export.libvirt import libvirt
from vmops.core.plan.export.ovn import networks
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


@pytest.mark.parametrize("vm", ["web", "db"])
def test_a_script_of_networks_in_ovn_is_one_that_shells_read(vm: str, tmp_path: Path) -> None:
    file = tmp_path / "web.ovn.sh"
    file.write_text(networks(in_ovn(vm)).text)
    for words in (("sh", "-n"), ("bash", "-n"), ("shellcheck",)):
        done = subprocess.run([*words, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def fab(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run fab over the inventory of `exported`."""
    hosts = folder / "hosts.toml"
    hosts.write_text(HOSTS.format(accel="tcg"))
    return subprocess.run(
        [Path(sys.executable).with_name("fab"), *words],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "VMOPS_HOSTS": str(hosts)},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_one_goes_to_standard_output_byte_for_byte(tmp_path: Path) -> None:
    done = fab(tmp_path, "export", "--vm", "cloud", "--format", "libvirt", "--output", "-")
    assert not (Path(__file__).parents[2] / "-").exists()
    assert (done.returncode, done.stdout.decode()) == (0, libvirt(leaving("cloud")).text)
    for what in (b"its seed, which tells its guest, is a file", b"~ is taken for /home/ubuntu"):
        assert what in done.stderr
    back = fab(tmp_path, "from-libvirt", "--input", "-", stdin=done.stdout)
    assert back.returncode == 0
    assert back.stdout.startswith(b"[vms.cloud]\nvm_id = 4\n")
    assert b"cloud-seed.iso is left out" in back.stderr


def test_one_goes_to_several_systems_with_one_seed(tmp_path: Path) -> None:
    for format in ("libvirt", "proxmox", "incus", "script", "libvirt"):
        words = ("--format", format, "--output", str(tmp_path / f"cloud.{format}"))
        done = fab(tmp_path, "export", "--vm", "cloud", *words)
        assert done.returncode == 0, done.stderr
    seed = tmp_path / "cloud-seed.iso"
    seed.write_bytes(seed.read_bytes()[::-1])
    refused = fab(tmp_path, "export", "--vm", "cloud", "--format", "libvirt", "--output", words[-1])
    assert (refused.returncode, b"cloud-seed.iso exists already" in refused.stderr) == (2, True)


def test_several_go_to_a_folder_and_what_may_be_secret_is_its_owners(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("export", "--vm", "plain,cloud", "--format", "proxmox", "--output", f"{out}/")
    for force in ((), ("--force",)):  # the second time other files are there
        if force:
            for file in out.iterdir():
                file.write_text("mine")
            refused = fab(tmp_path, *words)
            assert (refused.returncode, b"exist already" in refused.stderr) == (2, True)
        assert fab(tmp_path, *words, *force).returncode == 0
        modes = {file.name: file.stat().st_mode & 0o077 for file in out.iterdir()}
        assert modes.keys() == {"plain.conf", "cloud.conf", "cloud-seed.iso"}
        assert modes["cloud.conf"] == modes["cloud-seed.iso"] == 0
        (out / "cloud.conf").chmod(0o644)
    assert "mine" not in [file.read_text("latin-1") for file in out.iterdir()]
    assert (out / "cloud-seed.iso").read_bytes()[0x8001:0x8006] == b"CD001"
    done = fab(tmp_path, *words[:-1], str(tmp_path / "hosts.toml" / "x"))
    assert done.returncode == 2
    done = fab(tmp_path, "export", "--vm", "plain", "--format", "incus", "--output", "/proc/x/y")
    assert (done.returncode, b"cannot write /proc/x/y" in done.stderr) == (1, True)
