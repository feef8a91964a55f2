"""The CD that the seed's files lie on, made in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

LABEL = "cidata"


def iso(files: Mapping[str, bytes]) -> bytes:
    """The files as ISO 9660 with Joliet and Rock Ridge, for root alone to read in the guest."""
    from pycdlib import PyCdlib

    with _at_the_epoch():
        image = PyCdlib()
        image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
        for name, content in files.items():
            plain = f"/{name.replace('-', '').upper()}.;1"
            image.add_fp(
                BytesIO(content),
                len(content),
                plain,
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100400,
            )
        written = BytesIO()
        image.write_fp(written)
        image.close()
    return written.getvalue()


class _Epoch:
    """A clock that stands still, in place of the module `time`."""

    gmtime = localtime = staticmethod(time.gmtime)

    @staticmethod
    def time() -> float:
        return 0.0


_patching = threading.Lock()


@contextmanager
def _at_the_epoch() -> Iterator[None]:
    """pycdlib dates everything by the clock, and has no option for it."""
    from pycdlib import dates, headervd, pycdlib, utils

    modules: tuple[Any, ...] = (dates, headervd, pycdlib, utils)
    with _patching:
        try:
            for module in modules:
                module.time = _Epoch
            yield
        finally:
            for module in modules:
                module.time = time
