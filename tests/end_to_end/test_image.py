"""Pictures as inputs; Pillow's and NumPy's own arithmetic on plain pictures is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ipuc.errors import OptionError
from ipuc.image import image_input
from ipuc.types import TensorType

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])


def kind(*shape: int, dtype: str = "float32") -> TensorType:
    return TensorType(dtype, shape)


def saved(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def plain(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (300, 260)) -> Path:
    return saved(path, np.full((size[1], size[0], 3), colour, np.uint8))


def test_a_plain_picture_has_the_normalised_colour_everywhere(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.png", (255, 0, 51))
    made = image_input(path, kind(1, 3, 224, 224), {"ipuc.image": "imagenet"})
    assert made.dtype == np.float32
    assert made.shape == (1, 3, 224, 224)
    expected = (np.array([1.0, 0.0, 0.2]) - MEAN) / DEVIATION
    # float32 of numbers near 2
    pixels = made[0].transpose(1, 2, 0)
    wanted = np.broadcast_to(expected, pixels.shape)
    np.testing.assert_allclose(pixels, wanted, rtol=0, atol=1e-6)


def test_the_centre_is_cut_from_a_picture_with_shorter_side_256(tmp_path: Path) -> None:
    """A 512x256 picture keeps its size: columns 144 to 368, rows 16 to 240 remain."""
    ramp = np.zeros((256, 512, 3), np.uint8)
    ramp[..., 0] = np.arange(256)[:, None]
    ramp[..., 1] = (np.arange(512) // 2)[None, :]
    made = image_input(saved(tmp_path / "ramp.png", ramp), kind(1, 3, 224, 224))
    pixels = made[0].transpose(1, 2, 0) * DEVIATION + MEAN
    np.testing.assert_allclose(pixels, ramp[16:240, 144:368] / 255.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(90, 400), (400, 90), (224, 224), (31, 17), (1, 1)])
def test_any_picture_fills_any_input(tmp_path: Path, size: tuple[int, int]) -> None:
    path = plain(tmp_path / "a.jpg", (10, 200, 90), size)
    for height, width in ((32, 48), (48, 32), (7, 7)):
        made = image_input(path, kind(2, 3, height, width))
        assert made.shape == (2, 3, height, width)
        np.testing.assert_array_equal(made[0], made[1])
        # one colour stays one colour, up to JPEG's rounding
        assert float(np.ptp(made, axis=(2, 3)).max()) < 0.05


def test_a_fourth_channel_is_zero(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.png", (1, 2, 3))
    made = image_input(path, kind(1, 4, 8, 8), {"ipuc.image": "imagenet4"})
    assert not made[0, 3].any()
    np.testing.assert_array_equal(made[:, :3], image_input(path, kind(1, 3, 8, 8)))


def test_a_digit_is_grey_between_0_and_1_without_a_margin(tmp_path: Path) -> None:
    pixels = (np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)
    path = saved(tmp_path / "digit.png", pixels)
    made = image_input(path, kind(1, 1, 8, 8), {"ipuc.image": "digits"})
    np.testing.assert_allclose(made[0, 0], pixels / 255.0, rtol=1e-6)


def test_transparency_is_white_and_orientation_is_followed(tmp_path: Path) -> None:
    clear = saved(tmp_path / "clear.png", np.zeros((9, 9, 4), np.uint8))
    white = plain(tmp_path / "white.png", (255, 255, 255))
    one = kind(1, 3, 8, 8)
    np.testing.assert_allclose(image_input(clear, one), image_input(white, one), atol=1e-6)
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    made = image_input(tmp_path / "turned.png", kind(1, 1, 8, 8), {"ipuc.image": "digits"})
    np.testing.assert_allclose(made[0, 0], np.arange(64)[::-1].reshape(8, 8) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    "wanted",
    [
        kind(1, 3, 224),
        kind(1, 2, 8, 8),
        kind(1, 3, 8, 8, dtype="int64"),
        kind(0, 3, 8, 8),
    ],
)
def test_inputs_that_take_no_picture_say_so(tmp_path: Path, wanted: TensorType) -> None:
    path = plain(tmp_path / "a.png", (1, 2, 3))
    with pytest.raises(OptionError, match=r"no picture|no pixels") as caught:
        image_input(path, wanted, name="tokens")
    assert "tokens" in caught.value.where


def test_files_that_are_no_picture_say_so(tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("hello")
    with pytest.raises(OptionError, match="no picture that can be read"):
        image_input(text, kind(1, 3, 8, 8))
    with pytest.raises(OptionError, match="cannot be read"):
        image_input(tmp_path / "absent.png", kind(1, 3, 8, 8))
    whole = plain(tmp_path / "a.png", (1, 2, 3)).read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OptionError, match=r"cannot be read|no picture"):
        image_input(cut, kind(1, 3, 8, 8))
