"""VMs whose last day has passed, on a real worker."""

from __future__ import annotations

from datetime import datetime, timedelta

from .operator import Operator, small_vm


def test_up_stops_what_has_expired_and_keeps_its_disk(operator: Operator) -> None:
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 101))
    operator.ok("up")
    today = datetime.now().astimezone().date()
    text = operator.hosts_toml.read_text()
    for number, days in ((1, -1), (2, 1)):
        head = f'[vms."vm{number}"]'
        assert head in text
        last = (today + timedelta(days=days)).isoformat()
        text = text.replace(head, f'{head}\nexpires = "{last}"')
    operator.hosts_toml.write_text(text)
    said = operator.ok("status")
    assert "vm1 has expired" in said.err
    assert "vm2 expires tomorrow" in said.err
    planned = operator.fab("plan", "--format", "json")
    assert planned.code == 4
    assert [item["action"] for item in planned.json] == ["stop", "nothing"]
    said = operator.ok("up")
    assert "expired: stopped" in said.out
    assert set(operator.qemus("worker1")) == {"vm2"}
    assert operator.taps("worker1") == {"tap_2_eth1"}
    assert operator.on("worker1", "ls", "/home/ubuntu/vm_images/vm1.qcow2")
    assert operator.fab("plan").code == 0
    for task in ("launch", "restart", "boot"):
        said = operator.fab(task, "--vm", "vm1")
        assert (said.code, "it has expired" in said.err) == (1, True), task
    assert set(operator.qemus("worker1")) == {"vm2"}
