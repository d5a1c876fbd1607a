"""A poster as pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageDraw

from ipuc.render.palettes import Rgb
from ipuc.render.poster.elements import Bar, Box, Dot, Element, Line, Poster, Raster, Text, font

#: Times as fine as the page are lines and dots drawn, so that their edges are soft.
_FINE = 4

_ANCHORS = {"left": "ls", "middle": "ms", "right": "rs"}


def draw(poster: Poster) -> Image.Image:
    """Draw a poster: RGB, or RGBA if it has no ground."""
    size = poster.width, poster.height
    if poster.ground is None:
        image = Image.new("RGBA", size, (0, 0, 0, 0))
    else:
        image = Image.new("RGB", size, poster.ground)
    for element in poster.elements:
        _draw_one(image, element)
    return image


def _draw_one(image: Image.Image, element: Element) -> None:
    match element:
        case Raster():
            if image.mode in (element.image.mode, "RGB"):
                mask = element.image if element.image.mode == "RGBA" else None
                image.paste(element.image.convert(image.mode), element.at, mask)
            else:
                image.paste(element.image, element.at)
        case Text():
            pen = ImageDraw.Draw(image)
            letters = font(element.size, element.bold)
            anchor = _ANCHORS[element.anchor]
            pen.text(element.at, element.text, element.colour, letters, anchor)
        case Line():
            _soft(image, element.points, element.width, element.colour, _line(element))
        case Dot():
            _soft(image, (element.at,), 2 * element.radius, element.colour, _dot(element))
        case Box():
            x, y = element.corner
            far = x + element.size[0] - 1, y + element.size[1] - 1
            pen = ImageDraw.Draw(image)
            if element.width:
                wide = max(round(element.width), 1)
                pen.rectangle((x, y, *far), outline=element.colour, width=wide)
            else:
                pen.rectangle((x, y, *far), fill=element.colour)
        case Bar():
            x, y = element.corner
            step = element.size[0] / len(element.colours)
            pen = ImageDraw.Draw(image)
            for at, colour in enumerate(element.colours):
                left, right = round(x + at * step), round(x + (at + 1) * step) - 1
                pen.rectangle((left, y, max(left, right), y + element.size[1] - 1), fill=colour)


_Stroke = Callable[[ImageDraw.ImageDraw, Callable[[float, float], tuple[float, float]]], None]


def _line(line: Line) -> _Stroke:
    def stroke(
        pen: ImageDraw.ImageDraw, fine: Callable[[float, float], tuple[float, float]]
    ) -> None:
        points = [fine(*point) for point in line.points]
        pen.line(points, fill=255, width=max(round(line.width * _FINE), 1), joint="curve")

    return stroke


def _dot(dot: Dot) -> _Stroke:
    def stroke(
        pen: ImageDraw.ImageDraw, fine: Callable[[float, float], tuple[float, float]]
    ) -> None:
        (x, y), reach = fine(*dot.at), dot.radius * _FINE
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)

    return stroke


def _soft(
    image: Image.Image,
    points: tuple[tuple[float, float], ...],
    width: float,
    colour: Rgb,
    stroke: _Stroke,
) -> None:
    """Draw on a finer canvas as large as needed, reduce it, and lay it over the image."""
    pad = width + 2
    left = math.floor(min(x for x, _ in points) - pad)
    top = math.floor(min(y for _, y in points) - pad)
    right = math.ceil(max(x for x, _ in points) + pad)
    bottom = math.ceil(max(y for _, y in points) + pad)
    mask = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    stroke(ImageDraw.Draw(mask), lambda x, y: ((x - left) * _FINE, (y - top) * _FINE))
    small = mask.reduce(_FINE)
    if image.mode == "RGBA":
        layer = Image.new("RGBA", image.size, (*colour, 0))
        alpha = Image.new("L", image.size)
        alpha.paste(small, (left, top))
        layer.putalpha(alpha)
        image.alpha_composite(layer)
    else:
        image.paste(Image.new("RGB", small.size, colour), (left, top), small)
