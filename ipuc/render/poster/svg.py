"""A poster as SVG: the picture embedded as PNG, all else as text and lines that can be edited."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

from ipuc.render.palettes import hex_of
from ipuc.render.poster.elements import Bar, Box, Dot, Element, Line, Poster, Raster, Text, one_line

_ANCHORS = {"left": "start", "middle": "middle", "right": "end"}

#: Fonts in the order in which a viewer tries them; the first is ours, the second alike.
_FAMILY = "DejaVu Sans, Verdana, sans-serif"


def write_svg(poster: Poster, about: Mapping[str, str]) -> str:
    """Write a poster as an SVG document.

    Args:
        poster: what to write.
        about: provenance, kept as metadata by keyword.
    """
    size = f'width="{poster.width}" height="{poster.height}"'
    box = f"0 0 {poster.width} {poster.height}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{box}" font-family="{_FAMILY}">',
        "<metadata>",
        *(
            f"  <entry key={quoteattr(key)}>{escape(one_line(value))}</entry>"
            for key, value in sorted(about.items())
        ),
        "</metadata>",
    ]
    if poster.ground is not None:
        lines.append(f'<rect {size} fill="{hex_of(poster.ground)}"/>')
    lines += [_element(element) for element in poster.elements]
    return "\n".join([*lines, "</svg>", ""])


def _element(element: Element) -> str:
    match element:
        case Raster():
            data = base64.b64encode(png_bytes(element.image)).decode()
            left, top = element.at
            width, height = element.image.size
            return (
                f'<image x="{left}" y="{top}" width="{width}" height="{height}" '
                f'href="data:image/png;base64,{data}"/>'
            )
        case Text():
            weight = ' font-weight="bold"' if element.bold else ""
            return (
                f'<text x="{element.at[0]:.1f}" y="{element.at[1]:.1f}" '
                f'font-size="{element.size:.1f}"{weight} fill="{hex_of(element.colour)}" '
                f'text-anchor="{_ANCHORS[element.anchor]}">{escape(element.text)}</text>'
            )
        case Line():
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in element.points)
            return (
                f'<polyline points="{points}" fill="none" stroke="{hex_of(element.colour)}" '
                f'stroke-width="{element.width:.2f}" stroke-linejoin="round"/>'
            )
        case Dot():
            x, y = element.at
            return (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{element.radius:.1f}" '
                f'fill="{hex_of(element.colour)}"/>'
            )
        case Box():
            (x, y), (across, down) = element.corner, element.size
            colour = hex_of(element.colour)
            look = (
                f'fill="none" stroke="{colour}" stroke-width="{element.width:.2f}"'
                if element.width
                else f'fill="{colour}"'
            )
            return (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{down:.1f}" {look}/>'
            )
        case Bar():
            (x, y), (across, down) = element.corner, element.size
            step = across / len(element.colours)
            return "\n".join(
                f'<rect x="{x + at * step:.2f}" y="{y:.1f}" width="{step + 0.05:.2f}" '
                f'height="{down:.1f}" fill="{hex_of(colour)}"/>'
                for at, colour in enumerate(element.colours)
            )


def png_bytes(image: Image.Image) -> bytes:
    """Encode a picture."""
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=6)
    return data.getvalue()
