"""How a page is shared out: the disc, labels round it, insets beside it, words below and above."""

from __future__ import annotations

from dataclasses import dataclass

from ipuc.errors import OptionError
from ipuc.render.paint import SIZES
from ipuc.render.place import DISC
from ipuc.render.poster.leaders import CLEAR

#: Long and short sides of paper, in millimetres. Source: ISO 216.
PAPERS = {"A3": (297, 420), "A2": (420, 594), "A1": (594, 841)}

_MM_PER_INCH = 25.4

#: Shares of the page's width: the column of insets, an inset in it, and gaps.
_COLUMN, _INSET, _GAP = 0.42, 0.38, 0.03

#: Width over height of an inset. Source: the published picture with insets.
_RATIO = 1.7

#: Radius of a labelled disc, as a share of the width of its part, from the one that is tried first
#: to the least. Source of the first: the published picture with labels.
RADII = (0.37, 0.355, 0.34, 0.325, 0.31, 0.295)

#: The share where not all labels find room anyway.
CROWDED = 0.34

#: Margin round labels, in letters.
_MARGIN = 0.8

#: Letters of labels for the width of the disc's part.
_LETTER = 1 / 100


@dataclass(frozen=True, slots=True)
class Page:
    """Where things go, in pixels.

    Attributes:
        width: of the page.
        height: of the page.
        centre: of the disc.
        radius: of the disc.
        letter: size of the letters of labels.
        room: left, top, right and bottom of the part for the disc and its labels.
        insets: left, top, width and height of every inset.
        head: baseline of the title; 0 if there is none.
        foot: top of the strip for legend and caption.
    """

    width: int
    height: int
    centre: tuple[float, float]
    radius: float
    letter: float
    room: tuple[float, float, float, float]
    insets: tuple[tuple[int, int, int, int], ...]
    head: float
    foot: float


def paper_pixels(name: str, dpi: int) -> tuple[int, int]:
    """Pixels of a sheet of paper held upright.

    Raises:
        OptionError: that many dots per inch make a larger picture than is drawn.
    """
    width, height = (round(side / _MM_PER_INCH * dpi) for side in PAPERS[name])
    if not SIZES[0] <= height <= SIZES[1]:
        raise OptionError(
            f"{name} at {dpi} dots per inch is {width} x {height} pixels",
            where="--dpi",
            fix=f"choose fewer; {SIZES[1]} pixels per side can be drawn",
        )
    return width, height


def make_page(
    size: int | tuple[int, int],
    *,
    insets: int,
    title: bool,
    foot_lines: int,
    tallest: float = 0.0,
    share: float = RADII[0],
) -> Page:
    """Share out a page.

    Args:
        size: its width, from which the height follows; or both.
        insets: how many there are beside it.
        title: there is a title above.
        foot_lines: lines of the legend or caption below; 0 to let words stand in the corners
            that the disc leaves free.
        tallest: height of the tallest label, in sizes of its letters; 0 if there are none.
        share: radius of the disc, as a share of its part's width, where there are labels.
    """
    width, height = size if isinstance(size, tuple) else (size, 0)
    # On an upright sheet insets stand under the disc, else in a column on its left.
    below = bool(insets) and height > 1.1 * width
    left = _COLUMN * width if insets and not below else 0.0
    part = width - left
    letter = max(part * _LETTER, 7.0)
    head = 3.2 * letter if title else 0.0
    foot = (1.55 * foot_lines + 1.6) * letter if foot_lines else 0.0
    gap = _GAP * width
    across = (1 - 3 * _GAP) / 2 * width if below else _INSET * width
    tall = across / _RATIO
    rows = -(-insets // 2) if below else insets
    stack = rows * (tall + gap) + gap
    beside = (_MARGIN + tallest) * letter
    if not height:
        body = 2 * ((1 + CLEAR) * share * part + beside) if tallest else part
        height = round(max(body, stack if insets else 0.0) + head + foot)
    body = height - head - foot - (stack if below else 0.0)
    if tallest:
        radius = min(share * part, (body / 2 - beside) / (1 + CLEAR))
    else:
        radius = DISC * min(part, body)
    middle = head + body / 2
    boxes = []
    top = head + body + gap if below else middle - stack / 2 + gap
    for at in range(insets):
        row, column = divmod(at, 2) if below else (at, 0)
        # The last one of an odd number stands in the middle.
        alone = below and at == insets - 1 and column == 0
        x = (width - across) / 2 if alone else gap + column * (across + gap)
        boxes.append((round(x), round(top + row * (tall + gap)), round(across), round(tall)))
    edge = 0.5 * letter
    return Page(
        width,
        height,
        (left + part / 2, middle),
        radius,
        letter,
        (left + edge, head + edge, width - edge, head + body - edge),
        tuple(boxes),
        head and 2.4 * letter,
        height - foot,
    )
