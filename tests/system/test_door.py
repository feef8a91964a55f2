"""`ssh`, `ssh-config` and `ping` through a door into a VLAN, and that the door is shut behind them.

A namespace with an address and an sshd, at a port in the VLAN, stands in for the guest.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator

GUEST = """
ovs-vsctl --if-exists del-port guest0 -- add-port br-int guest0 tag=101 \
  -- set Interface guest0 type=internal external_ids:vmops-guest=stand-in
exec unshare -n sh -c '
  echo $$ >/run/guest.ns
  while ! ip link show guest0 >/dev/null 2>&1; do sleep 0.05; done
  ip link set lo up
  ip addr add 192.168.7.12/24 dev guest0
  ip addr add 192.168.7.254/24 dev guest0
  ip link set guest0 up
  mkdir -p /run/sshd
  exec /usr/sbin/sshd -D -f /dev/null -o HostKey=/etc/ssh/ssh_host_ed25519_key -o UsePAM=no \
    -o ListenAddress=192.168.7.12 -o PidFile=none'
"""

NETWORK = """
[networks.blue]
vlan_id = 101
subnet = "192.168.7.0/24"
"""


def entry(number: int, interface: str) -> str:
    return f"""
[vms.web{number}]
vm_id = {number}
worker = "worker{number}"
ram_mb = 32
cores = 1
vnc_port = 590{number}
qcow_image = "~/vm_images/web{number}.qcow2"
interfaces = [{{ name = "eth1", {interface} }}]
"""


@pytest.fixture
def with_guest(operator: Operator) -> Iterator[Operator]:
    """web1 and web2 on two workers, plugged; beside web2 what answers at its address."""
    operator.extra = NETWORK + "".join(
        entry(number, f'network = "blue", address = "192.168.7.1{number}"') for number in (1, 2)
    )
    operator.write()
    operator.ok("plug", "--vm", "*")
    guest = subprocess.Popen(
        operator.lab.enter("worker2", ["sh", "-c", GUEST]), stdin=subprocess.DEVNULL
    )
    wait_until(lambda: operator.on("worker2", "sh", "-c", "cat /run/guest.ns; true").strip() != "")
    take = "ip link set dev guest0 netns $(cat /run/guest.ns); rm /run/guest.ns"
    operator.on("worker2", "sh", "-c", take)
    yield operator
    guest.kill()
    guest.wait()
    operator.on("worker2", "ovs-vsctl", "--if-exists", "del-port", "guest0")
    operator.ok("unplug", "--vm", "*")


def doors(operator: Operator) -> list[str]:
    ports = [
        port
        for worker in ("worker1", "worker2")
        for port in operator.on(worker, "ovs-vsctl", "list-ports", "br-int").split()
    ]
    return [port for port in ports if port.startswith("vmd")]


def are_shut(operator: Operator) -> bool:
    return doors(operator) == []


def key(operator: Operator) -> tuple[str, ...]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    words = [word for option in options for word in ("-o", option)]
    return ("-i", str(operator.lab.private_key), *words)


def answers(operator: Operator) -> bool:
    return operator.fab("ping", "--vm", "web1", "--to", "web2", "--count", "1").code == 0


def test_ping_from_the_place_of_another_vm(with_guest: Operator) -> None:
    wait_until(lambda: answers(with_guest), seconds=20)
    said = with_guest.ok("ping", "--vm", "web1", "--to", "web2", "--format", "json").json
    assert (said["address"], said["sent"], said["answered"]) == ("192.168.7.12", 3, 3)
    assert all(0 < ms < 1000 for ms in said["ms"])
    lost = with_guest.fab("ping", "--from", "web2", "--to", "web1", "--count", "1")
    assert lost.code == 1
    assert "no answer" in lost.out
    assert "no echo of 1 came from web1 (192.168.7.11)" in lost.err
    wait_until(lambda: are_shut(with_guest))


def test_ssh_and_the_file_for_it(with_guest: Operator) -> None:
    """The door takes no address that somebody has: 192.168.7.254 is the guest's too."""
    wait_until(lambda: answers(with_guest), seconds=20)
    login = ("ssh", "--vm", "web2", "--user", "ubuntu", "--", *key(with_guest))
    said = with_guest.ok(*login, "echo $SSH_CLIENT; hostname")
    assert said.out.split()[0] == "192.168.7.253"
    assert said.out.split()[-1] == "worker2"
    assert with_guest.fab(*login, "exit 7").code == 7
    config = with_guest.folder / "vmops.conf"
    config.write_text(with_guest.ok("ssh-config", "--user", "ubuntu").out)
    done = subprocess.run(
        ["ssh", "-F", str(config), *key(with_guest), "web2", "cat"],
        input=b"all\0bytes\xff" * 5000,
        capture_output=True,
        timeout=60,
        check=True,
        cwd=Path("/"),
    )
    assert done.stdout == b"all\0bytes\xff" * 5000
    wait_until(lambda: are_shut(with_guest))


def test_a_vm_that_is_stopped_is_said_to_be(operator: Operator) -> None:
    operator.extra = NETWORK + entry(1, 'network = "blue", address = "192.168.7.11"')
    operator.write()
    said = operator.fab("ssh", "--vm", "web1", "--", "-o", "BatchMode=yes")
    assert said.code == 1
    assert "error: worker1: web1 is stopped\n  fab launch --vm web1 starts it\n" in said.err
    assert said.err.count("error: ") == 1


def open_way(operator: Operator) -> subprocess.Popen[bytes]:
    """A door that stays open: what comes first is sshd's greeting."""
    way = subprocess.Popen(
        [FAB, "ssh", "--vm", "web2", "--stdio"],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert way.stdout is not None
    assert way.stdout.read(4) == b"SSH-"
    return way


@pytest.mark.parametrize("how", ["killed", "interrupted", "cut", "closed"])
def test_the_door_is_shut_whatever_becomes_of_the_operator(with_guest: Operator, how: str) -> None:
    wait_until(lambda: answers(with_guest), seconds=20)
    way = open_way(with_guest)
    assert len(doors(with_guest)) == 1
    with_guest.ok("verify")
    if how == "cut":
        with_guest.lab.fault("worker2", "reset")
    elif how == "closed":
        assert way.stdin is not None
        way.stdin.close()
        way.stdin = None
    else:
        way.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    way.communicate(timeout=30)
    with_guest.lab.heal("worker2")
    wait_until(lambda: are_shut(with_guest), seconds=20)


def test_a_door_whose_keeper_was_killed_goes_with_the_next_one(with_guest: Operator) -> None:
    wait_until(lambda: answers(with_guest), seconds=20)
    way = open_way(with_guest)
    (door,) = doors(with_guest)
    mark = ("ovs-vsctl", "get", "Interface", door, "external_ids:vmops-door")
    keeper = with_guest.on("worker2", *mark).strip().strip('"')
    with_guest.on("worker2", "kill", "-9", keeper)
    way.kill()
    way.communicate(timeout=10)
    assert doors(with_guest) == [door]
    with_guest.fab("ping", "--vm", "web2", "--to", "web1", "--count", "1")
    wait_until(lambda: are_shut(with_guest))


def test_an_address_that_hosts_toml_does_not_have_may_be_said(operator: Operator) -> None:
    operator.extra = entry(1, "vlan_id = 101") + entry(2, "vlan_id = 101")
    operator.write()
    said = operator.fab("ssh", "--vm", "web1")
    assert said.code == 2
    assert "web1:eth1 has no address" in said.err
    assert operator.fab("ssh", "--vm", "web1", "--address", "192.168.7.11").code == 2
    assert operator.fab("ssh-config").code == 2
    words = ("ping", "--vm", "web1", "--to", "web2", "--count", "1")
    lost = operator.fab(*words, "--address", "192.168.7.12/24")
    assert lost.code == 1
    assert "no echo of 1" in lost.err
    dry = operator.ok("--dry", *words, "--address", "192.168.7.12/24")
    assert "add-port br-int DOOR tag=101" in dry.out
    assert are_shut(operator)
