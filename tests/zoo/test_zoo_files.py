"""What users call: names, descriptions, files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ipuc import zoo
from ipuc.errors import ContainerError, OptionError

ROOT = Path(__file__).parents[2]


def test_a_written_file_is_the_model_that_build_makes(tmp_path: Path) -> None:
    # `write` streams its own protobuf bytes; onnx's reader is the judge.
    for name in ("digits", "astro", "light_shufflenet"):
        path = zoo.write(name, tmp_path / f"{name}.onnx", seed=5)
        read = onnx.load(path)
        assert read == zoo.build(name, seed=5)
        onnx.checker.check_model(read, full_check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "astro.onnx", "digits.onnx", "light_shufflenet.onnx"
    ]  # fmt: skip


def test_the_described_size_is_the_file_size(tmp_path: Path) -> None:
    path = zoo.write("astro", tmp_path / "a.onnx")
    size = path.stat().st_size / 1e6
    assert f"{size:.1f} MB" in zoo.describe("astro")
    assert "533.0 k parameters" in zoo.describe("astro")


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_is_described_in_one_line(name: str) -> None:
    line = zoo.describe(name)
    assert "\n" not in line
    assert "parameters" in line
    assert line.endswith("MB")


def test_the_metadata_tells_what_the_model_is() -> None:
    told = {p.key: p.value for p in zoo.build("digits", seed=7).metadata_props}
    assert told["ipuc.weights"] == "random, seeded He-normal, seed 7"
    assert told["ipuc.image"] == "digits"
    assert "mean nothing" in told["ipuc.labels"]
    assert told["ipuc.source"]


def test_an_open_batch_runs_with_any_number_of_images() -> None:
    fixed, open_ = zoo.build("digits"), zoo.build("digits", batch=None)
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    many = onnxruntime.InferenceSession(open_.SerializeToString()).run(None, {"input": x})[0]
    one = onnxruntime.InferenceSession(fixed.SerializeToString())
    each = [one.run(None, {"input": image[np.newaxis]})[0] for image in x]
    assert np.allclose(many, np.concatenate(each), rtol=1e-5, atol=1e-6)  # order of sums


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="resnet34") as info:
        zoo.build("resnet43")
    assert "did you mean" in info.value.fix


def test_batches_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="holds no image"):
        zoo.build("digits", batch=0)
    with pytest.raises(OptionError, match="fixed at 1"):
        zoo.build("light_squeezenet", batch=None)


def test_an_older_file_is_replaced_and_keeps_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "digits.onnx"
    path.write_text("old")
    mode = path.stat().st_mode
    zoo.write("digits", path)
    assert path.stat().st_mode == mode
    assert onnx.load(path).graph.name == "digits"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.onnx"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ContainerError, match="No space left"):
        zoo.write("digits", path)
    assert [p.name for p in tmp_path.iterdir()] == ["digits.onnx"]
    assert path.read_text() == "old"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="No such file"):
        zoo.write("digits", tmp_path / "nowhere" / "digits.onnx")


def test_the_committed_digits_model_is_readable() -> None:
    model = onnx.load(ROOT / "models" / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.name == "digits"


def test_the_relight_script_writes_and_checks(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "models" / "relight.py"), "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*script, "--check", "light_squeezenet"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith("ok")
    assert [p.name for p in tmp_path.iterdir()] == ["light_squeezenet.onnx"]
    wrong = subprocess.run(
        [*script, "squeezenet"], capture_output=True, text=True, check=False, env=environment
    )
    assert wrong.returncode == 1
    assert "did you mean light_squeezenet" in wrong.stderr


def test_the_number_of_threads_does_not_show(tmp_path: Path) -> None:
    # ResNet-34 has 17,024 measured statistics behind up to 34 convolutions.
    code = "import sys; from ipuc import zoo; zoo.write('resnet34', sys.argv[1])"
    for threads in "12":
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / threads)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": threads},
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_alexnet_is_written_in_little_memory(tmp_path: Path) -> None:
    # VmHWM, not ru_maxrss: a child inherits the latter from the process that started it.
    code = (
        "import re, sys; from pathlib import Path; from ipuc import zoo;"
        "zoo.write('alexnet', sys.argv[1]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "alexnet.onnx")],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    # the weights are 244 MB; the model is never in memory twice over, with Python's own 100 MB
    assert int(done.stdout) * 1024 < 6e8
