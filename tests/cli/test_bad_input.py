"""Bad input: one clear message each, the right exit code, nothing half-written."""

from __future__ import annotations

import errno
import os
import pathlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli_models import Done, Run, only, save_model
from onnx import TensorProto, helper

from ipuc import zoo


def complaint(done: Done, code: int = 1) -> str:
    """The one message on stderr; stdout stays empty and there is no traceback."""
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    return done.err


def test_a_truncated_model(ipuc: Run, folder: Path) -> None:
    whole = zoo.write("digits", folder / "digits.onnx").read_bytes()
    cut = folder / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    message = complaint(ipuc("compile", cut))
    assert "damaged or cut short" in message
    assert "cut.onnx" in message
    only(folder, "cut.onnx", "digits.onnx")


def test_a_text_file(ipuc: Run, folder: Path) -> None:
    (folder / "notes.onnx").write_text("just words\n" * 20, "utf-8")
    assert "this is a text file" in complaint(ipuc("compile", "notes.onnx"))
    assert "this is a text file" in complaint(ipuc("info", "notes.onnx"))
    only(folder, "notes.onnx")


def test_a_file_that_is_not_there(ipuc: Run, relu: Path) -> None:
    for command in ("compile", "run", "verify", "render", "info"):
        message = complaint(ipuc(command, "rely.onnx"))
        assert "there is no such file" in message
        assert f"did you mean {relu.name}?" in message


def test_every_unknown_operator_is_named_at_once(ipuc: Run, folder: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="two"),
        helper.make_node("Twiddle", ["b"], ["y"], name="three", domain="com.example"),
    ]
    path = save_model(folder / "odd.onnx", nodes, {"x": [2]}, {"y": [2]})
    message = complaint(ipuc("compile", path))
    assert 'Frobnicate node "one"' in message
    assert 'Twiddle node "three"' in message
    assert "two" not in message
    only(folder, "odd.onnx")


def test_a_dynamic_dimension_that_is_not_given(ipuc: Run, open_batch: Path, folder: Path) -> None:
    message = complaint(ipuc("compile", open_batch))
    assert "--shape x=1x3" in message
    only(folder, "open.onnx")
    # The flag that the message names is the one that works.
    assert ipuc("compile", open_batch, "--shape", "x=1x3", "--target", "tiny").code == 0


@pytest.mark.parametrize("array", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)])
def test_an_input_of_the_wrong_shape_or_type(
    ipuc: Run, program: Path, folder: Path, array: np.ndarray
) -> None:
    np.save("x.npy", array)
    message = complaint(ipuc("run", program, "--input", "x=x.npy", "-o", "out.npz"))
    assert f"expected float32[2x3], found {array.dtype.name}" in message
    assert 'input "x"' in message
    only(folder, "relu.ipu", "relu.onnx", "x.npy")


def _with_external_data(path: Path, location: str) -> Path:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    save_model(path, [node], {"x": [4]}, {"y": [4]})
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_that_are_missing(ipuc: Run, folder: Path) -> None:
    path = _with_external_data(folder / "model.onnx", "weights.bin")
    message = complaint(ipuc("compile", path))
    assert "weights.bin" in message
    only(folder, "model.onnx")
    (folder / "weights.bin").write_bytes(np.ones(4, np.float32).tobytes())
    assert ipuc("compile", path, "--target", "tiny").code == 0


def test_external_data_outside_the_folder(ipuc: Run, folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "secret.bin").write_bytes(bytes(16))
    for location in ("../secret.bin", str(folder / "secret.bin")):
        path = _with_external_data(folder / "inner" / "model.onnx", location)
        assert "folder" in complaint(ipuc("compile", path))
    only(folder, "inner", "secret.bin")


def test_a_small_file_that_asks_for_terabytes(ipuc: Run, folder: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    nodes = [
        helper.make_node("Constant", [], ["s"], value=shape, name="shape"),
        helper.make_node("ConstantOfShape", ["s"], ["big"], name="fill"),
        helper.make_node("Add", ["x", "big"], ["y"], name="add"),
    ]
    path = save_model(folder / "bomb.onnx", nodes, {"x": [1]}, {"y": None})
    assert path.stat().st_size < 4096
    message = complaint(ipuc("compile", path))
    assert "1.1 TB" in message
    assert "--max-bytes" in message
    only(folder, "bomb.onnx")


def test_an_input_file_that_asks_for_terabytes(ipuc: Run, program: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    lying = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    Path("x.npy").write_bytes(lying)
    with zipfile.ZipFile("x.npz", "w") as file:
        file.write("x.npy")
    for name in ("x=x.npy", "x.npz"):
        assert "announces 4398046511104 bytes" in complaint(ipuc("run", program, "--input", name))


@pytest.fixture
def full_disk(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the program is compiled, there is room for only 100 bytes in new files."""
    assert program.exists()
    plain = pathlib.Path.open
    room = [100]

    def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        stream: Any = plain(path, mode, *rest, **named)
        if set(mode) & set("wxa"):
            write = stream.write

            def limited(data: Any) -> Any:
                room[0] -= memoryview(data).nbytes
                if room[0] < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(data)

            stream.write = limited
        return stream

    monkeypatch.setattr(pathlib.Path, "open", opened)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["compile", "relu.onnx", "--target", "tiny"], "relu.ipu"),
        (["run", "relu.ipu"], "out.npz"),
        (["render", "relu.ipu", "--size", "64"], "relu.png"),
        (["model", "digits"], "digits.onnx"),
    ],
)
def test_a_full_disk(ipuc: Run, program: Path, folder: Path, words: list[str], target: str) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    message = complaint(ipuc(*words, "-o", target))
    assert "No space left on device" in message or "the disk is full" in message
    assert target in message
    # Nothing half-written; what was there is untouched.
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert program in before


def test_a_write_that_the_kernel_refuses(folder: Path) -> None:
    """The file size limit of a process fails a write as a full disk does, below Python."""
    model = zoo.write("digits", folder / "digits.onnx")
    code = """if True:
        import resource, signal, sys
        from ipuc.cli import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, "compile", model.name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    message = complaint(Done(done.returncode, done.stdout, done.stderr))
    assert "cannot be written" in message
    only(folder, "digits.onnx")


def test_a_full_standard_output(program: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ipuc", "targets"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "the disk is full" in complaint(Done(done.returncode, "", done.stderr))
    assert program.exists()


def test_a_damaged_program(ipuc: Run, program: Path) -> None:
    whole = program.read_bytes()
    program.write_bytes(whole[: len(whole) // 2])
    for command in ("run", "render", "verify", "info"):
        assert "relu.ipu" in complaint(ipuc(command, program))


def test_another_frameworks_file_is_answered_with_its_export(ipuc: Run, folder: Path) -> None:
    (folder / "net.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    for command in ("compile", "run", "info"):
        assert "torch.onnx.export" in complaint(ipuc(command, "net.pt"))


def test_a_file_that_may_not_be_written(ipuc: Run, relu: Path, folder: Path) -> None:
    message = complaint(ipuc("compile", relu, "-o", folder / "none" / "a.ipu"))
    assert "there is no such folder" in message
    message = complaint(ipuc("compile", relu, "-o", relu))
    assert "overwrite" in message
    only(folder, "relu.onnx")


def test_a_device_is_not_replaced_by_a_result(ipuc: Run, program: Path, folder: Path) -> None:
    """A result takes the place of what is there: run by root, it would have replaced /dev/null."""
    os.mkfifo(folder / "pipe")
    names = sorted(path.name for path in folder.iterdir())
    for words in (["run", program], ["render", program], ["model", "digits"]):
        assert "no file" in complaint(ipuc(*words, "-o", folder / "pipe"))
    assert (folder / "pipe").is_fifo()
    only(folder, *names)


def test_a_picture_is_not_written_under_another_formats_name(ipuc: Run, program: Path) -> None:
    for suffix in ("jpg", "pdf"):
        message = complaint(ipuc("render", program, "-o", f"graph.{suffix}"))
        assert "-o graph.png" in message


@pytest.mark.parametrize(
    ("target", "words"),
    [("tiny,tiles=1.5", "tiles=1.5 is no whole number"), ("tiny,tiles", "write tiles=4")],
)
def test_a_target_with_a_wrong_number(ipuc: Run, relu: Path, target: str, words: str) -> None:
    assert words in complaint(ipuc("compile", relu, "--target", target))


def test_files_of_ours_that_are_no_models(ipuc: Run, program: Path, folder: Path) -> None:
    np.savez(folder / "arrays.npz", x=np.zeros(3))
    np.save(folder / "array.npy", np.zeros(3))
    (folder / "program.onnx").write_bytes(program.read_bytes())
    assert "NumPy arrays" in complaint(ipuc("info", "arrays.npz"))
    assert "an array of NumPy" in complaint(ipuc("compile", "array.npy"))
    assert "a program that ipuc compiled" in complaint(ipuc("compile", "program.onnx"))


def test_a_shape_that_does_not_hold_the_elements(ipuc: Run, folder: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"], name="bend")]
    for wanted in ([5, 4], [4], [2, 3, 3]):
        weights = {"s": np.array(wanted, np.int64)}
        save_model(folder / "bend.onnx", nodes, {"x": [2, 6]}, {"y": None}, weights)
        message = complaint(ipuc("compile", "bend.onnx"))
        assert "12 elements of float32[2x6] cannot become" in message
        assert 'node "bend"' in message
