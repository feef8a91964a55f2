"""The command line: Invoke tasks, tables, progress, exit codes. The only place that prints.

`from vmops.tasks import ns` in a fabfile brings all of them. Nothing heavy is imported before a
task runs: `fab --list` must stay as quick as Fabric itself.
"""

from __future__ import annotations

from vmops.interrupt import leave_at_once

_as_before = leave_at_once()
"""The imports below are most of what fab does before a task; Ctrl-C would show where it was."""

from invoke.collection import Collection  # noqa: E402

from vmops.tasks.later import tasks_of  # noqa: E402
from vmops.tasks.typed.fabric_reading import leave_to_us  # noqa: E402

leave_to_us()

ns = Collection(
    *tasks_of("vm.fleet", "up down plan"),
    *tasks_of("placement.place", "place"),
    *tasks_of("placement.drain", "drain undrain"),
    *tasks_of("vm.lifecycle", "launch plug boot pid stop destroy reset-disk unplug adopt"),
    *tasks_of("vm.power", "restart reset pause resume suspend"),
    *tasks_of("vm.migrate", "migrate"),
    *tasks_of("vm.power", "wait"),
    *tasks_of("vm.status", "status ps"),
    *tasks_of("guest.console", "console"),
    *tasks_of("guest.logs", "logs"),
    *tasks_of("guest.vnc", "vnc"),
    *tasks_of("guest.screen", "screenshot"),
    *tasks_of("guest.keyboard", "sendkey type=type_text"),
    *tasks_of("proof.verify", "verify"),
    *tasks_of("proof.trace", "trace"),
    *tasks_of("inside", "exec=execute cp"),
    *tasks_of("proof.capture", "capture"),
    *tasks_of("proof.graph", "graph"),
    *tasks_of("proof.ssh", "ssh ssh-config ping"),
    *tasks_of("inventory", "inventory"),
    *tasks_of("vm.export", "export"),
    *tasks_of("vm.from_libvirt", "from-libvirt"),
    *tasks_of("worker", "doctor prune history run script"),
)
"""All tasks by name, with their modules: a test holds this list to what the modules have."""

for _name, _tasks in {
    "lab": tasks_of("lab", "up status down fault heal vlans delay"),
    "image": tasks_of("image.tasks", "push pull list=list_images verify remove"),
    "nic": tasks_of("vm.nic", "down up"),
    "snapshot": tasks_of("vm.snapshot", "save list=list_ revert delete thaw"),
    "net": [*tasks_of("network.tasks", "up down status"), *tasks_of("network.impair", "impair")],
    "ovn": tasks_of("network.ovn", "setup"),
    "cloud-init": tasks_of("vm.cloud_init", "show"),
}.items():
    ns.add_collection(Collection(_name, *_tasks))
ns.collections[
    "lab"
].__doc__ = "Tasks for a lab: workers on this very machine, for trying and testing. Linux, root."

_as_before()
