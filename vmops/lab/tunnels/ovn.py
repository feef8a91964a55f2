"""OVN in a lab: a controller in each worker, and the central in the first.

Nothing is set up beyond that the daemons run: that is for `fab ovn.setup`, as on workers whose
packages somebody has installed.
"""

from __future__ import annotations

from pathlib import Path

from vmops.core.names import OVN_BRIDGE
from vmops.lab.daemons import DAEMONS, OVN_LIB, OVN_LOG, OVN_RUN
from vmops.lab.layout import worker_name
from vmops.lab.tools import call

_SCHEMAS = Path("/usr/share/ovn")


def start(worker: str) -> None:
    """The daemons. The switch runs, and the underlay is there."""
    for place in (OVN_RUN, OVN_LOG):
        Path(place).mkdir(exist_ok=True)
    if worker == worker_name(1):
        _start_central()
    # One that is told no bridge takes br-int as soon as it starts, and its flows with it.
    call("ovs-vsctl", "set", "Open_vSwitch", ".", f"external_ids:ovn-bridge={OVN_BRIDGE}")
    call(*DAEMONS["ovn-controller"].argv)


def _start_central() -> None:
    for word in ("nb", "sb"):
        schema = _SCHEMAS / f"ovn-{word}.ovsschema"
        call("ovsdb-tool", "create", f"{OVN_LIB}/ovn{word}_db.db", str(schema))
    call(*DAEMONS["northbound"].argv)
    call(*DAEMONS["southbound"].argv)
    call("ovn-nbctl", "init")
    call("ovn-sbctl", "init")
    call(*DAEMONS["ovn-northd"].argv)
