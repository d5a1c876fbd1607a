"""What a picture says about itself, in the text chunks of its PNG file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from ipuc.errors import ContainerError
from ipuc.files import whole

#: The text chunk that every picture of ours has: the version that drew it.
MARK = "ipuc.version"


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """A PNG file at a glance.

    Attributes:
        size: width and height in pixels.
        text: text chunks by keyword; ours begin with "ipuc.".
    """

    size: tuple[int, int]
    text: dict[str, str]

    @property
    def ours(self) -> bool:
        """Whether this program drew it."""
        return MARK in self.text


def save_png(
    image: Image.Image, path: Path, provenance: dict[str, str], dpi: int | None = None
) -> None:
    """Write a PNG with text chunks, whole or not at all; equal pixels give equal bytes.

    A picture of few colours is written with a table of them, which is smaller.

    Raises:
        ContainerError: the file cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in sorted(provenance.items()):
        # Words of a shell may be no text at all.
        info.add_itxt(key, value.encode(errors="backslashreplace").decode())
    if image.mode == "RGB" and image.getcolors(256):
        image = _indexed(image)
    more = {"dpi": (dpi, dpi)} if dpi else {}
    data = io.BytesIO()
    image.save(data, "PNG", pnginfo=info, compress_level=6, **more)
    with whole(path, "the picture") as stream:
        stream.write(data.getbuffer())


def _indexed(image: Image.Image) -> Image.Image:
    """Write a picture of up to 256 colours with a table of them; no pixel changes."""
    packed = np.asarray(image).astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    colours, index = np.unique(packed, return_inverse=True)
    made = Image.fromarray(index.reshape(packed.shape).astype(np.uint8), "P")
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    made.putpalette(parts.astype(np.uint8).tobytes())
    return made


def read_png(path: Path) -> PictureInfo:
    """Read size and text chunks of a PNG file; its pixels stay compressed.

    Raises:
        ContainerError: the file cannot be read, or is no sound PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            assert isinstance(image, PngImagePlugin.PngImageFile)
            # Walks over all chunks, so that text after the pixels is found and damage shows.
            text = {str(key): str(value) for key, value in image.text.items()}
            return PictureInfo(image.size, text)
    except (UnidentifiedImageError, SyntaxError, ValueError, EOFError) as error:
        raise ContainerError(
            "this is no PNG file, or it is damaged", where=str(path), fix="render it again"
        ) from error
    except Image.DecompressionBombError as error:
        raise ContainerError(f"the picture is too large: {error}", where=str(path)) from error
    except OSError as error:
        raise ContainerError(
            f"the picture cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check that the file is complete",
        ) from error
