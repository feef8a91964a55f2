"""Every tag that a port has had, from OVSDB's own account: also one that was wrong for a moment."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Sequence

from vmops.lab import Lab

from .outside import tag_of
from .targets import Target

MONITOR = (
    *("ovsdb-client", "--format=json", "monitor", "unix:/run/openvswitch/db.sock"),
    *("Open_vSwitch", "Port", "name,tag"),
)


class TagWatch:
    """Listens to a worker's OVSDB until `end`."""

    def __init__(self, lab: Lab, worker: str) -> None:
        self._seen: list[tuple[str, int | None]] = []
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            lab.enter(worker, MONITOR), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # what is there already
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            for row in json.loads(line)["data"]:
                _uuid, action, name, tag = row
                if action in ("insert", "new"):
                    with self._lock:
                        self._seen.append((name, tag_of(tag)))

    def take(self) -> list[tuple[str, int | None]]:
        """Each port with a tag that it got, since the last call."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def wrong(self, targets: Sequence[Target]) -> list[str]:
        """A line for each of these VMs' ports that got a tag which none of them asks for."""
        right: dict[str, set[int | None]] = {}
        for target in targets:
            for tap, vlan in target.taps.items():
                right.setdefault(tap, set()).add(vlan)
        return [
            f"wrong VLAN: {name} had the tag {tag}, asked for {sorted(right[name], key=str)}"
            for name, tag in self.take()
            if name in right and tag not in right[name]
        ]

    def end(self) -> None:
        """Stop listening. The client inside the worker ends with the worker."""
        self._process.kill()
        self._process.wait()
