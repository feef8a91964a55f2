"""What is done with blocks: written as a script, read back, and shown to a person."""

from vmops.core.script.parse import parse
from vmops.core.script.render import LOCK_WAIT_S, render
from vmops.core.script.words import shown

__all__ = ["LOCK_WAIT_S", "parse", "render", "shown"]
