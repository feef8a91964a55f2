"""The VM whose guest has an agent: a real Linux, booted once, and given back with its memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

from tests.guests import agent_image, cache_directory
from vmops.core.images.names import Base

from .shell import BRING_AGENT, FREEZE_AGENT, KEEP_AGENT
from .targets import TALKING, Image, hosts_toml
from .waiting import await_it

if TYPE_CHECKING:
    from .ground import Ground

BOOT_S = 240.0
MOUNT = "cat /tmp/ext4 >/dev/vdb; rm /tmp/ext4; mkdir -p /srv; mount -t ext4 /dev/vdb /srv"
"""What the guest has in memory cannot be frozen, and this can."""


class TalkingGuest:
    """It is booted when it is wanted first: few parts of a sweep want it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        (self._target,) = TALKING
        self.images: tuple[Image, ...] = ()

    def bring(self) -> None:
        """It is suspended, as if it had been so from the beginning. Nothing of it may be there."""
        if not self.images:
            self._boot()
            self._ground.wipe()
        self._run(BRING_AGENT)

    def freeze(self) -> None:
        """Freeze its file systems past vmops."""
        self._run(FREEZE_AGENT)

    def _boot(self) -> None:
        name, ground = self._target.name, self._ground
        file = agent_image(cache_directory())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        image = Image(self._target.base, Base(digest, "qcow2"), str(file))
        text = hosts_toml(ground.lab.inventory.read_text(), (image, *TALKING), ground.worker)
        ground.files["agents"].write_text(text)
        self._fab("launch", "--vm", name)
        await_it(self._listens, "an agent that does not listen", seconds=BOOT_S, every=0.5)
        made = self._ground.fresh_file()
        words = ("mke2fs", "-q", "-t", "ext4", "-F", "-E", "lazy_itable_init=0", str(made), "8M")
        subprocess.run(words, check=True, timeout=60, capture_output=True)
        self._fab("cp", str(made), f"{name}:/tmp/ext4")
        made.unlink()
        self._fab("exec", "--vm", name, "--", "sh", "-c", MOUNT)
        self._fab("suspend", "--vm", name)
        self._run(KEEP_AGENT, image.base.name)
        self.images = (image,)

    def _listens(self) -> bool:
        said = self._fab("status", "--vm", self._target.name, "--format", "json")
        return bool(json.loads(said)[0]["agent"])

    def _fab(self, *words: str) -> str:
        said = self._ground.fab(*words, file="agents")
        if said.code != 0:
            raise RuntimeError(f"no guest with an agent: {said}")
        return said.out

    def _run(self, script: str, *words: str) -> None:
        self._ground.lab.run(self._ground.worker, ("sh", "-c", script, "sh", *words))
