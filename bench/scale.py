"""Runs a program and writes down the peak memory of it and its descendants. Run as a script.

The words are a file for the number of KiB, and the program's own. Imports next to nothing: what it
weighs itself would be counted.
"""

from __future__ import annotations

import os
import sys

pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as weight:  # noqa: PTH123
    weight.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
