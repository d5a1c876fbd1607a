"""Files that are not ONNX: say what they are, and how to get ONNX from them."""

from __future__ import annotations

from pathlib import Path

from ipuc.errors import ImportFailure

_TORCH = """\
import torch
model = ...                      # build your model, then load "{file}" into it
model.eval()
example = torch.zeros(1, 3, 224, 224)
torch.onnx.export(model, (example,), "{stem}.onnx")"""

_SAFETENSORS = """\
import torch
from safetensors.torch import load_file
model = ...                      # a .safetensors file has weights only: build the model first
model.load_state_dict(load_file("{file}"))
model.eval()
torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), "{stem}.onnx")
(for a Hugging Face model: optimum-cli export onnx --model NAME {stem}/)"""

_KERAS = """\
import tensorflow as tf          # pip install tensorflow tf2onnx
model = tf.keras.models.load_model("{file}")
model.export("{stem}")
then, in the shell:
python -m tf2onnx.convert --saved-model {stem} --output {stem}.onnx"""

_TFLITE = """\
pip install tensorflow tf2onnx
python -m tf2onnx.convert --tflite {file} --output {stem}.onnx"""

_TF = """\
pip install tensorflow tf2onnx
python -m tf2onnx.convert --graphdef {file} --inputs INPUT:0 --outputs OUTPUT:0 --output {stem}.onnx
(a SavedModel folder: python -m tf2onnx.convert --saved-model FOLDER --output {stem}.onnx)"""

#: Suffix -> (what it is, the lines that export it).
FOREIGN: dict[str, tuple[str, str]] = {
    ".pt": ("a PyTorch file", _TORCH),
    ".pth": ("a PyTorch file", _TORCH),
    ".ckpt": ("a PyTorch checkpoint", _TORCH),
    ".safetensors": ("a safetensors file, which holds weights but no model", _SAFETENSORS),
    ".h5": ("a Keras HDF5 file", _KERAS),
    ".hdf5": ("a Keras HDF5 file", _KERAS),
    ".keras": ("a Keras file", _KERAS),
    ".tflite": ("a TensorFlow Lite file", _TFLITE),
    ".pb": ("a TensorFlow graph (or a single ONNX tensor)", _TF),
}

#: Files that ipuc reads, but not as a model -> (what it is, what to do with it).
_OURS: dict[str, tuple[str, str]] = {
    ".npy": ("an array of NumPy", "give the model here, and the array to ipuc run --input"),
    ".npz": ("a file of NumPy arrays", "give the model here, and the arrays to ipuc run --input"),
    ".ipu": (
        "a program that ipuc compiled",
        "name it .ipu, then ipuc run, render and info take it",
    ),
}


def _suffix_by_content(head: bytes) -> str:
    """Recognise files that carry another name, by their first bytes."""
    suffix = ""
    if head[4:8] == b"TFL3":
        suffix = ".tflite"
    elif head.startswith(b"\x89HDF\r\n"):
        suffix = ".h5"
    elif head.startswith(b"\x93NUMPY"):
        suffix = ".npy"
    elif head.startswith(b"PK\x03\x04"):  # a zip file: its first member tells what it is
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        arrays = ".npz" if member.endswith(b".npy") else ".pt"
        suffix = ".ipu" if member == b"manifest.json" else arrays
    elif head.startswith((b"\x80\x02", b"\x80\x04")):
        suffix = ".pt"
    elif head[8:10] == b'{"':
        suffix = ".safetensors"
    return suffix


def refuse_foreign(path: Path, head: bytes) -> None:
    """Answer another framework's file with the lines that export it to ONNX.

    Raises:
        ImportFailure: the file is one.
    """
    suffix = path.suffix.lower()
    content = _suffix_by_content(head)
    if content in _OURS:
        kind, fix = _OURS[content]
        raise ImportFailure(f"this is {kind}, no model", where=str(path), fix=fix)
    found = FOREIGN.get(suffix) or FOREIGN.get(content)
    if found is None:
        return
    kind, lines = found
    # A file that is called .onnx must not be told to overwrite itself.
    stem = f"{path.stem}-converted" if suffix == ".onnx" else path.stem
    recipe = lines.format(file=path.name, stem=stem).replace("\n", "\n    ")
    raise ImportFailure(
        f"this is {kind}; ipuc reads ONNX",
        where=str(path),
        fix=f"export it to ONNX first:\n    {recipe}",
    )


def describe_damage(path: Path, head: bytes) -> ImportFailure:
    """Say what a file is that cannot be parsed as ONNX."""
    if head.startswith(b"version https://git-lfs"):
        return ImportFailure(
            "this is a Git LFS pointer, not the model itself",
            where=str(path),
            fix="fetch the model: git lfs pull",
        )
    if head.lstrip()[:1] == b"<":
        return ImportFailure(
            "this is a web page or XML, not an ONNX model",
            where=str(path),
            fix="download the file itself (the raw link)",
        )
    if _is_text(head):
        return ImportFailure(
            "this is a text file, not an ONNX model",
            where=str(path),
            fix="give a model that an exporter wrote (torch.onnx.export, tf2onnx, ...)",
        )
    return ImportFailure(
        "this is not an ONNX model, or it is damaged or cut short",
        where=str(path),
        fix="download or export it again and compare the sizes",
    )


def _is_text(head: bytes) -> bool:
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return bool(head) and printable >= 0.98 * len(head)
