"""The screens of many VMs on one picture, each with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.devices.picture import Picture, as_png
from vmops.tasks.frame.harmless import one_line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont


class Tile(NamedTuple):
    """One field of a contact sheet: a name, where that is, and a picture or why there is none."""

    name: str
    place: str
    picture: Picture | None = None
    reason: str = ""


_FIELD = (400, 300)
_GAP = 16
_TEXT_SIZE = 17
_LINE = 22
_CAPTION = 2 * _LINE + 8
_REASON_LINES = 6
_MOST_LETTERS = 150
_PAPER, _EMPTY, _INK, _PALE, _ALERT = "#14171c", "#232831", "#f2f4f7", "#9aa3b2", "#ffb454"


def contact_sheet(tiles: Sequence[Tile]) -> Picture:
    """All the tiles on one picture, row by row, each with its caption."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    rows = max(1, math.ceil(len(tiles) / columns))
    step = (_FIELD[0] + _GAP, _FIELD[1] + _CAPTION + _GAP)
    sheet = Image.new("RGB", (_GAP + columns * step[0], _GAP + rows * step[1]), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT_SIZE)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        corner = (_GAP + column * step[0], _GAP + row * step[1])
        field = (*corner, corner[0] + _FIELD[0] - 1, corner[1] + _FIELD[1] - 1)
        draw.rectangle(field, fill=_EMPTY)
        if tile.picture is not None:
            _paste(sheet, tile.picture, corner)
        else:
            _explain(draw, font, tile.reason, corner)
        _caption(draw, font, tile, (corner[0], field[3] + 6))
    return Picture(as_png(sheet), sheet.width, sheet.height)


def _paste(sheet: Image, picture: Picture, corner: tuple[int, int]) -> None:
    """The picture as large as its field allows, in the middle of it."""
    from PIL import Image, ImageOps

    with Image.open(BytesIO(picture.png)) as image:
        small = ImageOps.contain(image.convert("RGB"), _FIELD, Image.Resampling.LANCZOS)
    margin = ((_FIELD[0] - small.width) // 2, (_FIELD[1] - small.height) // 2)
    sheet.paste(small, (corner[0] + margin[0], corner[1] + margin[1]))


def _explain(draw: ImageDraw, font: Font, reason: str, corner: tuple[int, int]) -> None:
    lines = _wrapped(draw, font, reason, _FIELD[0] - 4 * _GAP)
    where = (corner[0] + _FIELD[0] // 2, corner[1] + _FIELD[1] // 2)
    text = "\n".join(lines)
    draw.multiline_text(where, text, fill=_ALERT, font=font, anchor="mm", align="center")


def _caption(draw: ImageDraw, font: Font, tile: Tile, where: tuple[int, int]) -> None:
    below = (where[0], where[1] + _LINE)
    for at, text, ink in ((where, tile.name, _INK), (below, tile.place, _PALE)):
        draw.text(at, _cut(draw, font, one_line(text), _FIELD[0]), fill=ink, font=font)


def _wrapped(draw: ImageDraw, font: Font, text: str, width: float) -> list[str]:
    """The text in lines of that width; what exceeds the field is left out."""
    lines = [""]
    for word in map(one_line, text.split()):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > _REASON_LINES:
        lines[_REASON_LINES - 1 :] = [" ".join(lines[_REASON_LINES - 1 :])]
    return [_cut(draw, font, line, width) for line in lines]


def _cut(draw: ImageDraw, font: Font, text: str, width: float) -> str:
    if draw.textlength(text, font) <= width:
        return text
    text = text[:_MOST_LETTERS]
    while text and draw.textlength(f"{text}...", font) > width:
        text = text[:-1]
    return f"{text}..."
