"""A picture file as the input of an image model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ipuc.errors import OptionError
from ipuc.types import TensorType

#: Mean and deviation per channel of ImageNet's training pictures, for values in 0..1.
#: Source: torchvision.transforms, documentation of its pretrained models.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

#: The shorter side is resized to this many times the height, so that a margin is cut away.
#: Source: the same: 256 for a crop of 224.
_MARGIN = 256 / 224


def image_input(
    path: str | Path, kind: TensorType, metadata: Mapping[str, str] | None = None, name: str = ""
) -> NDArray[np.float32]:
    """Read a picture as an input: resized, cropped at the centre, normalised.

    The model's metadata say how, in `ipuc.image`: "imagenet" (mean and deviation of ImageNet),
    "imagenet4" (with a fourth channel of zeros), "digits" (grey, 0..1, no margin). Without it,
    three channels are taken as "imagenet", four as "imagenet4", and one as grey in 0..1.

    Args:
        path: any picture that Pillow reads.
        kind: type of the input: float32[N, C, H, W] with C 1, 3 or 4. All N images are the same.
        metadata: the model's metadata_props.
        name: of the input, for errors.

    Raises:
        OptionError: the input takes no picture, or the file is none.
    """
    where = f'input "{name}", {kind}' if name else str(kind)
    if kind.dtype != "float32" or len(kind.shape) != 4 or kind.shape[1] not in (1, 3, 4):
        raise OptionError(
            "this input takes no picture: pictures go into float32[N, C, H, W] with C 1, 3 or 4",
            where=where,
            fix="give an array (a .npy or .npz file) or random:SEED",
        )
    count, channels, height, width = kind.shape
    if 0 in kind.shape:
        raise OptionError("this input has no pixels", where=where)
    style = (metadata or {}).get("ipuc.image", "")
    picture = _open(Path(path), "L" if channels == 1 else "RGB")
    picture = _crop(picture, height, width, 1.0 if style == "digits" else _MARGIN)
    pixels = np.asarray(picture, np.float32) / np.float32(255)
    if channels == 1:
        planes = pixels[None]
    else:
        planes = ((pixels - _MEAN) / _DEVIATION).transpose(2, 0, 1)
        planes = np.concatenate([planes, np.zeros((channels - 3, height, width), np.float32)])
    return np.repeat(planes[None], count, axis=0)


def _open(path: Path, mode: str) -> Image.Image:
    """Read a picture whole, upright, in a Pillow mode."""
    try:
        with Image.open(path) as file:
            return _opaque(ImageOps.exif_transpose(file)).convert(mode)
    except UnidentifiedImageError:
        raise OptionError(
            "this is no picture that can be read",
            where=str(path),
            fix="give a PNG, JPEG or WebP file, an array (.npy, .npz) or random:SEED",
        ) from None
    except Image.DecompressionBombError as error:
        raise OptionError(f"the picture is too large: {error}", where=str(path)) from None
    except OSError as error:
        raise OptionError(
            f"the picture cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check the path, and that the file is complete",
        ) from error


def _opaque(picture: Image.Image) -> Image.Image:
    """Lay a picture with transparency on white, as viewers do."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    solid = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid)


def _crop(picture: Image.Image, height: int, width: int, margin: float) -> Image.Image:
    """Resize so that height x width with a margin just fits, and cut out the centre."""
    scale = margin * max(width / picture.width, height / picture.height)
    # Rounding must not leave less than is cut out.
    wide = max(width, round(picture.width * scale))
    high = max(height, round(picture.height * scale))
    left, top = (wide - width) // 2, (high - height) // 2
    resized = picture.resize((wide, high), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + width, top + height))
