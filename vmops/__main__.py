"""`vmops`, and `python -m vmops`: Ctrl-C has its word before anything else is imported."""

from __future__ import annotations

from vmops.interrupt import leave_at_once


def main() -> None:
    """The entry point of `vmops`."""
    leave_at_once()
    from vmops.tasks.program import main

    main()


if __name__ == "__main__":
    main()
