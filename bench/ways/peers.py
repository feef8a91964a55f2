"""The ways of other tools: Ansible, pyinfra and Fabric, told the same calls by files.

Ansible and pyinfra live in an environment of their own, .venv-bench; without it they are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.place import ROOT, Place
from bench.processes import Call, Processes, Work
from bench.ways.documented import launch_calls, stop_calls
from bench.ways.way import Way, unavailable
from vmops.core.inventory.model import VM

PEERS = Path(__file__).parents[1] / "peers"
ENVIRONMENT = ROOT / ".venv-bench"
CURE = "not installed: scripts/bench --install-peers"

_ANSIBLE_SETTINGS = """\
[defaults]
forks = 20
host_key_checking = True
gathering = explicit
[ssh_connection]
pipelining = True
"""


def fabric(place: Place, vms: Sequence[VM]) -> Way:
    """Fabric's own Connection, one `run` for each call; on several workers a ThreadingGroup."""
    orders = _orders(place, vms)

    def work(step: str) -> Work:
        words = (sys.executable, str(PEERS / "fabric_calls.py"), str(orders), step)
        return Processes([[Call(words)]])

    title = "Fabric, one run per call"
    if len({vm.worker for vm in vms}) > 1:
        title = "Fabric's ThreadingGroup, one run per call"
    return Way("fabric", title, work("start"), work("stop"))


def pyinfra(place: Place, vms: Sequence[VM]) -> Way:
    """One `server.shell` operation for each call."""
    title = "pyinfra, one operation per call"
    program = ENVIRONMENT / "bin" / "pyinfra"
    if not program.exists():
        return unavailable("pyinfra", title, CURE)
    orders, folder = _orders(place, vms), str(place.directory)

    def work(step: str) -> Work:
        files = (str(PEERS / "pyinfra_hosts.py"), str(PEERS / "pyinfra_calls.py"))
        settings = {"BENCH_ORDERS": str(orders), "BENCH_STEP": step}
        call = Call((str(program), "-y", *files), environment=settings, directory=folder)
        return Processes([[call]])

    return Way("pyinfra", title, work("start"), work("stop"), patient=True)


def ansible(place: Place, vms: Sequence[VM]) -> Way:
    """One `command` module for each line of each call; every VM is a host, 20 forks."""
    title = "Ansible, one module call per step"
    program = ENVIRONMENT / "bin" / "ansible-playbook"
    if not program.exists():
        return unavailable("ansible", title, CURE)
    settings = place.directory / "ansible.cfg"
    settings.write_text(_ANSIBLE_SETTINGS)
    hosts = place.directory / "ansible-hosts.json"
    hosts.write_text(json.dumps(_ansible_hosts(place, vms)))
    home = place.directory / "ansible"
    environment = {"ANSIBLE_CONFIG": str(settings), "ANSIBLE_HOME": str(home)}

    def work(step: str) -> Work:
        play = place.directory / f"ansible-{step}.json"
        play.write_text(json.dumps(_ansible_play(step, len(_lines(vms[0], step)))))
        words = (str(program), "-i", str(hosts), str(play))
        return Processes([[Call(words, environment=environment)]])

    return Way("ansible", title, work("start"), work("stop"), patient=True)


def _ansible_hosts(place: Place, vms: Sequence[VM]) -> dict[str, Any]:
    shared = {
        "ansible_user": "ubuntu",
        "ansible_ssh_private_key_file": str(place.lab.private_key),
        "ansible_ssh_args": " ".join(
            [*place.ssh_options(), "-o ControlMaster=auto", "-o ControlPersist=2s"]
        ),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    hosts = {
        vm.name: {
            "ansible_host": place.worker(str(vm.worker)).address,
            "ansible_port": place.worker(str(vm.worker)).port,
            "start": _lines(vm, "start"),
            "stop": _lines(vm, "stop"),
        }
        for vm in vms
    }
    return {"all": {"vars": shared, "hosts": hosts}}


def _ansible_play(step: str, steps: int) -> list[dict[str, Any]]:
    tasks = [
        {"ansible.builtin.command": {"cmd": f"{{{{ {step}[{number}] }}}}"}}
        for number in range(steps)
    ]
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks}]


def _lines(vm: VM, step: str) -> list[str]:
    calls = launch_calls(vm) if step == "start" else stop_calls(vm)
    return [line for call in calls for line in call.splitlines()]


def _orders(place: Place, vms: Sequence[VM]) -> Path:
    """The file that tells a peer where to do what."""
    orders = {
        "key": str(place.lab.private_key),
        "known_hosts": str(place.lab.known_hosts),
        "vms": [
            {
                "name": vm.name,
                "number": vm.vm_id,
                "address": place.worker(str(vm.worker)).address,
                "port": place.worker(str(vm.worker)).port,
                "start": launch_calls(vm),
                "stop": stop_calls(vm),
            }
            for vm in vms
        ],
    }
    path = place.directory / f"orders-{len(vms)}.json"
    path.write_text(json.dumps(orders))
    return path
