"""PNG from what QEMU wrote, and contact sheets: sizes, places, and what is no picture."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageChops

from vmops.core.devices.picture import Picture, read_picture
from vmops.tasks.guest.contact_sheet import Tile, contact_sheet

RED, BLUE = (200, 10, 10), (10, 10, 200)
FIELD = (400, 300)


def encoded(kind: str, size: tuple[int, int] = (720, 400), colour: tuple[int, ...] = RED) -> bytes:
    data = BytesIO()
    Image.new("RGB", size, colour).save(data, kind)
    return data.getvalue()


def opened(picture: Picture) -> Image.Image:
    return Image.open(BytesIO(picture.png)).convert("RGB")


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_both_of_qemus_formats_become_png(kind: str) -> None:
    picture = read_picture(encoded(kind))
    assert (picture.width, picture.height) == (720, 400)
    assert opened(picture).getcolors() == [(720 * 400, RED)]
    with Image.open(BytesIO(picture.png)) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"root:x:0:0:root:/root:/bin/bash\n",
        encoded("PNG")[:200],
        encoded("PPM")[:-1],
        encoded("JPEG"),
        b"P6\n9000 9000\n255\n",
        b"P6\n-1 -1\n255\n",
        b"P3\n2000 2000\n255\n" + b"1 " * 12_000_000,
        b"P1\n5000 5000\n" + b"1" * 25_000_000,
        b"P5\n2 2\n255\n0000",
        b"Pf\n2 2\n-1.0\n" + bytes(16),
    ],
    ids=[
        *("empty", "text", "half a PNG", "a PPM cut short", "JPEG", "too large", "below nothing"),
        *("numbers as text", "bits as text", "grey", "floats"),
    ],
)
@pytest.mark.timeout(20)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no picture|larger than any screen"):
        read_picture(data)


@pytest.mark.parametrize(
    ("tiles", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (9, 3, 3), (10, 4, 3)],
)
def test_a_sheet_grows_with_its_tiles(tiles: int, columns: int, rows: int) -> None:
    sheet = contact_sheet([Tile(f"vm{n}", "worker1") for n in range(tiles)])
    assert sheet.width // FIELD[0] == columns
    assert sheet.height // FIELD[1] == rows
    assert opened(sheet).size == (sheet.width, sheet.height)


def test_each_picture_is_in_its_own_field_and_not_distorted() -> None:
    wide, tall = (read_picture(encoded("PNG", size, colour)) for size, colour in SHAPES)
    sheet = opened(contact_sheet([Tile("a", "w", wide), Tile("b", "w", tall)]))
    red, blue = box_of(sheet, RED), box_of(sheet, BLUE)
    assert (red[2] - red[0], red[3] - red[1]) == (400, 100)
    assert (blue[2] - blue[0], blue[3] - blue[1]) == (75, 300)
    assert red[2] <= blue[0]


SHAPES = (((800, 200), RED), ((100, 400), BLUE))


def box_of(sheet: Image.Image, colour: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the area that has this colour."""
    flat = Image.new("RGB", sheet.size, colour)
    same = ImageChops.difference(sheet, flat).convert("L").point(lambda value: 255 * (value == 0))
    box = same.getbbox()
    assert box is not None
    return box


def test_names_places_and_reasons_are_written() -> None:
    plain = contact_sheet([Tile("", "")])
    for tile in (Tile("vm1", ""), Tile("", "worker1"), Tile("", "", reason="stopped")):
        assert contact_sheet([tile]).png != plain.png, tile
    assert contact_sheet([Tile("vm1", "")]).png != contact_sheet([Tile("vm2", "")]).png


@pytest.mark.parametrize("text", ["x" * 500, "word " * 200, "日本語 ☃", "a\nb\x1b[31m"])
def test_no_text_is_too_long_or_too_odd(text: str) -> None:
    usual = contact_sheet([Tile("vm1", "worker1"), Tile("vm2", "worker1")])
    odd = contact_sheet([Tile(text, text, reason=text), Tile("vm2", "worker1")])
    assert (odd.width, odd.height) == (usual.width, usual.height)
    half = usual.width // 2 + 8
    right = (half, 0, usual.width, usual.height)
    assert opened(odd).crop(right).tobytes() == opened(usual).crop(right).tobytes()
