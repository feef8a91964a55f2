"""Chains of tasks, other fabfiles, the console command, fab's own options, a dry run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .operator import ROOT, Operator, small_vm


def connections(operator: Operator) -> int:
    return sum(worker.connections for worker in operator.lab.status().workers)


def test_a_chain_makes_one_connection(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    host = operator.address("worker1")
    before = connections(operator)
    operator.ok("-H", host, "doctor", "launch", "--vm", "vm1", "status", "stop", "--vm", "vm1")
    assert connections(operator) == before + 1


def test_a_dry_run_prints_the_commands_and_contacts_nothing(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    before = connections(operator)
    host = operator.address("worker1")
    for task in ("launch", "plug", "boot", "stop", "unplug", "status", "pid"):
        said = operator.ok("--dry", "-H", host, task, "--vm", "vm1")
        assert "worker1" in said.out
    said = operator.ok("--dry", "-H", host, "launch", "--vm", "vm1")
    for line in ("sudo ip tuntap add mode tap name tap_1_eth1", "tag=101", "qemu-system-x86_64"):
        assert line in said.out
    operator.ok("--dry", "-H", host, "doctor", "run", "id")
    assert connections(operator) == before


def test_another_fabfile_imports_the_tasks(operator: Operator, tmp_path: Path) -> None:
    operator.add(small_vm("vm1", 1, 101))
    (tmp_path / "fabfile.py").write_text(
        "from fabric import task\n"
        "from invoke import Collection\n"
        "from vmops.tasks import ns as vmops\n\n"
        "@task\n"
        "def mine(c):\n"
        "    print('mine', c.host)\n\n"
        "ns = Collection(mine)\n"
        "ns.add_collection(vmops, name='vm')\n"
    )
    host = operator.address("worker1")
    done = subprocess.run(
        [Path(sys.executable).parent / "fab", "-H", host, "mine", "vm.launch", "--vm", "vm1"],
        cwd=tmp_path,
        env=operator.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"mine {host}"
    assert "vm1" in operator.qemus("worker1")


def test_the_console_command_needs_no_fabfile(operator: Operator, tmp_path: Path) -> None:
    operator.add(small_vm("vm1", 1, 101))
    vmops = Path(sys.executable).parent / "vmops"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [vmops, *words],
            cwd=tmp_path,
            env=operator.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run("-H", "worker1", "launch", "--vm", "vm1", "pid", "--vm", "vm1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(operator.qemus("worker1")["vm1"])
    wrong = run("launch", "--vmm", "vm1")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("way", ["-i", "-S"])
def test_fabs_own_options_lead_there_without_an_inventory_entry(
    operator: Operator, tmp_path: Path, way: str
) -> None:
    """An address that is not listed gets [defaults]; the key and the port come from fab."""
    lab, host = operator.lab, operator.address("worker1")
    inventory = tmp_path / "empty.toml"
    inventory.write_text(
        f'[defaults]\nhost_keys = "strict"\nknown_hosts = "{lab.known_hosts}"\n'
        + ("port = 2222\n" if way == "-i" else "")
    )
    config = tmp_path / "ssh_config"
    config.write_text(f"Host *\n  Port 2222\n  User ubuntu\n  IdentityFile {lab.private_key}\n")
    option = ("-i", str(lab.private_key)) if way == "-i" else ("-S", str(config))
    said = operator.fab(
        *option, "-t", "5", "-H", host, "run", "id -un", env={"VMOPS_HOSTS": str(inventory)}
    )
    assert (said.code, said.out) == (0, "ubuntu\n"), said


def test_through_a_jump_host(operator: Operator) -> None:
    """worker2 is reached through worker1's sshd: the second login comes from there."""
    text = operator.hosts_toml.read_text()
    lab = operator.lab
    gateway = f'gateway = "ubuntu@{operator.address("worker1")}:2222"\n'
    jumped = text + (
        f'[workers.inner]\naddress = "127.0.0.1"\nport = {sshd_port(operator)}\n'
        f'identity_file = "{lab.private_key}"\nhost_keys = "off"\n{gateway}'
    )
    operator.hosts_toml.write_text(jumped)
    said = operator.fab("-i", str(lab.private_key), "-H", "inner", "run", "hostname")
    assert (said.code, said.out) == (0, "worker1\n"), said


def sshd_port(operator: Operator) -> int:
    """Where the sshd of worker1 listens inside."""
    for line in operator.on("worker1", "ss", "-ltnHp").splitlines():
        if '"sshd"' in line:
            return int(line.split()[3].rpartition(":")[2])
    raise AssertionError("no sshd listens in worker1")


def test_list_imports_nothing_heavy() -> None:
    """What `fab --list` needs of vmops: none of what costs time to import."""
    code = (
        "import sys, fabric, vmops.tasks;"
        "heavy = {'rich', 'qemu', 'PIL', 'vmops.remote', 'vmops.core.plan.vm', 'vmops.ops.act'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
