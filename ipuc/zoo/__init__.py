"""Models to compile: exact architectures with seeded weights.

Every model has float32 weights, an input called "input" of fixed batch 1 (`build` can leave the
batch open), and says in its metadata what it is: `ipuc.weights`, `ipuc.source`, `ipuc.labels`,
and `ipuc.image`, how a picture becomes its input ("imagenet": shorter side resized to 256, centre
224x224, mean and deviation of ImageNet; "imagenet4": the same with a fourth channel of zeros;
"digits": 0..16 scaled to 0..1). The light models of the `onnx` package keep their own names for
inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from ipuc.errors import OptionError, nearest
from ipuc.zoo.alexnet import alexnet, alexnet2017
from ipuc.zoo.astro import astro
from ipuc.zoo.digits import digits
from ipuc.zoo.draft import Draft, Weights
from ipuc.zoo.files import assemble, file_bytes, save
from ipuc.zoo.relight import TITLES, light_draft, light_names, weights_note
from ipuc.zoo.resnet import resnet34
from ipuc.zoo.resnet2017 import resnet18_2017, resnet34_2017, resnet50_2017
from ipuc.zoo.vgg2017 import vgg11_2017
from ipuc.zoo.weights import fill

__all__ = ["build", "describe", "names", "write"]

_OURS: dict[str, tuple[Callable[[int | None], Draft], str]] = {
    "alexnet": (alexnet, "AlexNet, torchvision's layer sizes, arXiv 1404.5997"),
    "alexnet2017": (alexnet2017, "AlexNet of the 2017 pictures"),
    "astro": (astro, "gravitational waves in a time series, arXiv 1701.00008"),
    "digits": (digits, "LeNet-like, 8x8 digits"),
    "resnet18_2017": (resnet18_2017, "ResNet-18 after the 2017 pictures, no batch norm"),
    "resnet34": (resnet34, "ResNet-34, arXiv 1512.03385"),
    "resnet34_2017": (resnet34_2017, "ResNet-34 of the 2017 pictures, no batch norm"),
    "resnet50_2017": (resnet50_2017, "ResNet-50 of the 2017 pictures, no batch norm"),
    "vgg11_2017": (vgg11_2017, "VGG-11 after the 2017 pictures"),
}

_NO_LABELS = "class numbers mean nothing: the weights are random"


def names() -> list[str]:
    """List what can be built; first our own models, then those found in the `onnx` package."""
    return [*_OURS, *light_names()]


def describe(name: str) -> str:
    """Say in one line what a model is, where it comes from, and how large it is.

    Raises:
        OptionError: there is no such model.
    """
    draft = _draft(name, 1)
    title = _OURS[name][1] if name in _OURS else f"{TITLES[name]}, from the onnx package"
    count, size = draft.parameters(), file_bytes(draft) / 1e6
    shown = f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"
    return f"{title}: {shown} parameters, {size:.{1 if size >= 1 else 2}f} MB"


def build(name: str, seed: int = 0, *, batch: int | None = 1) -> onnx.ModelProto:
    """Build a model in memory.

    Args:
        name: one of `names()`.
        seed: chooses the weights.
        batch: number of images, or None to leave it open as the dimension "batch". The
            models of the onnx package are fixed at one.

    Raises:
        OptionError: there is no such model, or it cannot have this batch.
    """
    draft = _draft(name, batch)
    weights = _weights(draft, seed)
    return assemble(draft, weights)


def write(name: str, path: str | Path, seed: int = 0, *, batch: int | None = 1) -> Path:
    """Build a model and write it; the file appears complete or not at all.

    Takes little more memory than the weights once, unlike `build` followed by `onnx.save`.

    Args:
        name: one of `names()`.
        path: the file to write; an older one is replaced.
        seed: chooses the weights.
        batch: as for `build`.

    Returns:
        The file's path.

    Raises:
        OptionError: there is no such model, or it cannot have this batch.
        ContainerError: the file cannot be written.
    """
    draft = _draft(name, batch)
    return save(draft, _weights(draft, seed), Path(path))


def _weights(draft: Draft, seed: int) -> Weights:
    draft.set_metadata("ipuc.weights", weights_note(seed))
    draft.set_metadata("ipuc.labels", _NO_LABELS)
    return fill(draft, seed)


def _draft(name: str, batch: int | None) -> Draft:
    """Find a model's builder and build it without weights."""
    if batch is not None and batch < 1:
        raise OptionError(f"a batch of {batch} holds no image", fix="give 1 or more")
    if name in _OURS:
        return _OURS[name][0](batch)
    if name not in light_names():
        raise OptionError(f'there is no model "{name}"', fix=nearest(name, names()))
    if batch != 1:
        raise OptionError(f'the batch of "{name}" is fixed at 1', fix="leave the batch out")
    return light_draft(name)
