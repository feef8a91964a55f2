"""Pictures of screens, as PNG from what QEMU wrote.

Bytes in, bytes out. Pictures come from workers: what is none, or too big, is a ValueError.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 64_000_000
MOST_BYTES = 256_000_000
"""A picture of the most pixels in QEMU's PPM has three quarters of that."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PPM = re.compile(rb"P6\s")


class Picture(NamedTuple):
    """A screen as PNG, and its size in pixels."""

    png: bytes
    width: int
    height: int


def read_picture(data: bytes) -> Picture:
    """The picture in PNG or PPM bytes. Raises ValueError when they are neither, or cut short.

    Only what QEMU writes is read: the text forms of PPM take a minute for what fits a megabyte.
    """
    from PIL import Image

    if not (data.startswith(_PNG) or _PPM.match(data)) or len(data) > MOST_BYTES:
        raise ValueError("no picture: neither PNG nor binary PPM, or too large")
    try:
        with Image.open(BytesIO(data), formats=("PNG", "PPM")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"larger than any screen: {image.width}x{image.height}")
            image.load()
            png = data if data.startswith(_PNG) else as_png(image)
            return Picture(png, image.width, image.height)
    except (OSError, SyntaxError, Image.DecompressionBombError) as unreadable:
        raise ValueError(f"no picture: {unreadable}") from unreadable


def as_png(image: Image) -> bytes:
    """The picture that Pillow has, as PNG."""
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
