"""A run that is killed and resumed ends with the bits of one that was left alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from learning_run import small_data, small_program

from ipuc.errors import ContainerError, OptionError
from ipuc.learning.checkpoint import KEPT, Progress, checkpoints, read_checkpoint, write_checkpoint
from ipuc.learning.train import Course, Watch, learn
from ipuc.npz import read_arrays

SCRIPT = Path(__file__).with_name("learning_run.py")
ROOT = SCRIPT.parents[2]


def start(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_killed_ten_times(tmp_path: Path) -> None:
    """Five times while a checkpoint is being written, five times at any moment."""
    (tmp_path / "calm").mkdir()
    calm = start(str(tmp_path / "calm" / "saved"), str(tmp_path / "calm" / "out.npz"))
    saved, out = tmp_path / "saved", tmp_path / "out.npz"
    draw, inside = random.Random(7), 0
    kills = 0
    while kills < 10:
        process = start(str(saved), str(out), "--slow")
        assert process.stdout is not None
        process.stdout.readline()  # it has begun, or has ended already
        part = None
        if kills % 2:
            deadline = time.monotonic() + 10
            while part is None and process.poll() is None and time.monotonic() < deadline:
                part = next(saved.glob(".step-*.part"), None)
        else:
            time.sleep(draw.uniform(0, 0.3))
        ended = process.poll() is not None
        process.kill()
        process.wait()
        process.stdout.close()
        assert not ended, "there must be something left to kill"
        inside += bool(part is not None and part.exists())
        kills += 1
    assert inside >= 3, "some kills must hit a checkpoint that is being written"
    last = start(str(saved), str(out))
    assert last.wait() == 0
    assert calm.wait() == 0
    for process in (last, calm):
        assert process.stdout is not None
        process.stdout.close()
    assert not list(saved.glob(".*.part"))
    found, wanted = read_arrays(out), read_arrays(tmp_path / "calm" / "out.npz")
    assert found.keys() == wanted.keys()
    assert len(found["losses"]) == 12 * (56 // 8)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)


def progress(steps: int) -> Progress:
    state = {"w": np.full((2, 3), steps, np.float32), "optimizer/step": np.float32(steps)}
    return Progress({name: np.asarray(array) for name, array in state.items()}, [0.5] * steps)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for steps in (3, 6, 9):
        write_checkpoint(tmp_path, progress(steps), {"a": 1})
    older, newest = checkpoints(tmp_path)
    assert KEPT == 2
    newest.write_bytes(newest.read_bytes()[:-40])
    passed: list[Path] = []
    found = read_checkpoint(tmp_path, {"a": 1}, progress(0).state, 1 << 20, passed.append)
    assert found is not None
    assert (found.steps, older.name) == (6, "step-000000006.npz")
    assert passed == [newest], "somebody is told"


def test_no_checkpoint_is_whole(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, progress(3), {})
    (path,) = checkpoints(tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ContainerError) as caught:
        read_checkpoint(tmp_path, {}, progress(0).state, 1 << 20)
    assert str(caught.value).count("fix:") == 1, "one error, not one inside another"
    assert "another --checkpoint folder" in caught.value.fix


def test_a_new_run_leaves_checkpoints_alone(tmp_path: Path) -> None:
    """A new run would remove the old checkpoints, or its own, which have fewer steps."""
    program = small_program()
    data = small_data(tmp_path, program)
    saved = tmp_path / "saved"
    learn(program, data, Course(2, 0, saved), {})
    before = {path.name: path.read_bytes() for path in checkpoints(saved)}
    with pytest.raises(OptionError, match="there are checkpoints already") as caught:
        learn(program, data, Course(1, 0, saved), {})
    assert "--resume" in caught.value.fix
    assert {path.name: path.read_bytes() for path in checkpoints(saved)} == before


def test_fewer_epochs_than_are_done(tmp_path: Path) -> None:
    program = small_program()
    data = small_data(tmp_path, program)
    learn(program, data, Course(2, 0, tmp_path / "saved"), {})
    with pytest.raises(OptionError, match="has 14 steps, and 1 epochs are 7") as caught:
        learn(program, data, Course(1, 0, tmp_path / "saved", resume=True), {})
    assert "--epochs 2" in caught.value.fix


def test_the_folder_is_made_before_the_first_step(tmp_path: Path) -> None:
    program = small_program()
    data = small_data(tmp_path, program)
    steps: list[int] = []
    watch = Watch(step=lambda done: steps.append(done.steps))
    with pytest.raises(ContainerError, match="cannot be made"):
        learn(program, data, Course(1, 0, tmp_path / "no" / "folder"), {}, None, watch)
    assert not steps


@pytest.mark.parametrize("change", ["run", "version", "state"])
def test_a_checkpoint_of_something_else(tmp_path: Path, change: str) -> None:
    from ipuc.learning import checkpoint  # noqa: PLC0415

    patch = pytest.MonkeyPatch()
    if change == "version":
        patch.setattr(checkpoint, "FORMAT", 99)
    write_checkpoint(tmp_path, progress(3), {"model": "x" if change == "run" else "y"})
    patch.undo()
    state = progress(0).state
    if change == "state":
        state["w"] = np.zeros((4, 4), np.float32)
    words = {"run": "model was x, is y", "version": "format 99", "state": "another model: w"}
    with pytest.raises(OptionError, match=words[change]):
        read_checkpoint(tmp_path, {"model": "y"}, state, 1 << 20)
