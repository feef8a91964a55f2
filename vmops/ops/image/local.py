"""Images as hosts.toml has them, and what workers call them."""

from __future__ import annotations

from pathlib import Path

from vmops.core.images.header import HEAD_BYTES, objection
from vmops.core.images.names import Base
from vmops.core.inventory.image import Image
from vmops.errors import InventoryError
from vmops.nameless import expanded
from vmops.remote.image.image_file import ImageFile


def path_of(image: Image) -> Path:
    """Where its file is here; a leading `~/` is the operator's home."""
    assert image.file is not None, "only an image that is a file here has a path"
    return expanded(image.file)


def opened(image: Image) -> ImageFile:
    """Its file here, open for reading. Raises InventoryError for what cannot be read, or is no
    image of that format, or needs other files."""
    path = path_of(image)
    try:
        file = ImageFile(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no plain file"
        raise _wrong(image, f"cannot be read: {reason}", "correct its file") from error
    try:
        why, cure = objection(file.head(HEAD_BYTES), image.format)
        if why:
            raise _wrong(image, why, cure)
    except OSError as error:
        raise _wrong(image, f"cannot be read: {error.strerror}", "") from error
    except BaseException:
        file.close()
        raise
    return file


def base_of(image: Image) -> Base:
    """What workers call it. The sum of a file here is made, or known from before.

    Raises InventoryError as `opened` does, and where the file is another one than its sha256 says.
    """
    if image.file is None:
        assert image.sha256 is not None, "a url comes with its sum"
        return Base(image.sha256, image.format)
    with opened(image) as file:
        return base_of_opened(image, file)


def base_of_opened(image: Image, file: ImageFile) -> Base:
    """The same for a file that is open already."""
    from vmops.ops.image.sums import digest_of

    try:
        found = digest_of(path_of(image), file)
    except (OSError, ValueError) as error:
        raise _wrong(image, f"cannot be read: {error}", "") from error
    if image.sha256 not in (None, found):
        raise _wrong(
            image,
            f"is another one than its sha256 says: it has {found}",
            "get the right file, or correct sha256",
        )
    return Base(found, image.format)


def _wrong(image: Image, why: str, cure: str) -> InventoryError:
    return InventoryError(f"images.{image.name}: {image.file} {why}", cure=cure)
