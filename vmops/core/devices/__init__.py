"""A device a module: its words for QEMU, their reading, and what is asked of it."""
