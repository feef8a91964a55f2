"""pyinfra's deploy: one operation for each call of the host."""

from __future__ import annotations

from pyinfra import host  # type: ignore[import-not-found, unused-ignore]
from pyinfra.operations import server  # type: ignore[import-not-found, unused-ignore]

for call in host.data.calls:
    server.shell(name=call, commands=[call])
