"""What a picture says about itself, in the text chunks of its PNG file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from ipuc.errors import ContainerError

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
