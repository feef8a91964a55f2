"""Who has changed what on a real worker, as the lab's sshd and sudo have it."""

from __future__ import annotations

from .operator import Operator, small_vm


def test_a_vms_life_is_written_down(operator: Operator) -> None:
    operator.on("worker1", "rm", "-rf", "/var/log/vmops")
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 101))
    assert "nothing is written down" in operator.ok("-H", "worker1", "history").err
    operator.ok("up")
    operator.ok("up")
    operator.ok("restart", "--vm", "vm1", "--force")
    operator.ok("stop", "--vm", "*", "--force")
    operator.ok("plug", "--vm", "vm2", "unplug", "--vm", "vm2")
    found = operator.ok("-H", "worker1", "history", "--vm", "vm1", "--format", "json").json
    assert [(each["action"], each["result"]) for each in found] == [
        ("launch", "done"),
        ("stop", "done"),
        ("launch", "done"),
        ("stop", "done"),
    ]
    assert {(each["vm"], each["user"], each["worker"]) for each in found} == {
        ("vm1", "ubuntu", "worker1")
    }
    assert all(each["address"].startswith("127.") for each in found), found
    assert all(each["error"] is None for each in found)
    (last,) = operator.ok("history", "--worker", "worker1", "-n", "1", "--format", "json").json
    assert (last["vm"], last["action"]) == ("vm2", "unplug")
    table = operator.ok("-H", "worker1", "history", "--vm", "vm2").out
    assert [line.split()[2] for line in table.splitlines()[1:]] == [
        *("launch", "stop", "plug", "unplug")
    ]
    slip = operator.fab("history", "--vm", "nope,vm2")
    assert (slip.code, "vm2" in slip.out) == (1, True)
    assert "nope is no VM of hosts.toml, and nothing is written down of it" in slip.err
