"""The command line: Invoke tasks, tables, progress, exit codes. The only place that prints.

`from vmops.tasks import ns` in a fabfile brings all of them. Nothing heavy is imported before a
task runs: `fab --list` must stay as quick as Fabric itself.
"""

from __future__ import annotations

from vmops.interrupt import leave_at_once

_as_before = leave_at_once()
"""The imports below are most of what fab does before a task; Ctrl-C would show where it was."""

from invoke.collection import Collection  # noqa: E402

from vmops.tasks import inside, inventory, lab, worker  # noqa: E402
from vmops.tasks.guest import console, keyboard, logs, screen, vnc  # noqa: E402
from vmops.tasks.image import tasks as images  # noqa: E402
from vmops.tasks.network import ovn  # noqa: E402
from vmops.tasks.network import tasks as networks  # noqa: E402
from vmops.tasks.placement import drain, place  # noqa: E402
from vmops.tasks.proof import capture, graph, ssh, trace, verify  # noqa: E402
from vmops.tasks.typed.fabric_reading import leave_to_us  # noqa: E402
from vmops.tasks.vm import cloud_init, export, fleet, from_libvirt, nic, power, snapshot, status  # noqa: E402
from vmops.tasks.vm import lifecycle as vm  # noqa: E402
from vmops.tasks.vm import migrate as moving  # noqa: E402

leave_to_us()

ns = Collection(
    fleet.up,
    fleet.down,
    fleet.plan,
    place.place,
    drain.drain,
    drain.undrain,
    vm.launch,
    vm.plug,
    vm.boot,
    vm.pid,
    vm.stop,
    vm.destroy,
    vm.reset_disk,
    vm.unplug,
    vm.adopt,
    power.restart,
    power.reset,
    power.pause,
    power.resume,
    power.suspend,
    moving.migrate,
    power.wait,
    status.status,
    status.ps,
    console.console,
    logs.logs,
    vnc.vnc,
    screen.screenshot,
    keyboard.sendkey,
    keyboard.type_text,
    verify.verify,
    trace.trace,
    inside.execute,
    inside.cp,
    capture.capture,
    graph.graph,
    ssh.ssh,
    ssh.ssh_config,
    ssh.ping,
    inventory.inventory,
    export.export,
    from_libvirt.from_libvirt,
    worker.doctor,
    worker.prune,
    worker.history,
    worker.run,
    worker.script,
)
ns.add_collection(Collection.from_module(lab), name="lab")
ns.add_collection(images.ns, name="image")
ns.add_collection(nic.ns, name="nic")
ns.add_collection(snapshot.ns, name="snapshot")
ns.add_collection(networks.ns, name="net")
ns.add_collection(ovn.ns, name="ovn")
ns.add_collection(cloud_init.ns, name="cloud-init")

_as_before()
