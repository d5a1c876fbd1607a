"""Oracles: the program that was saved (equal records, equal results) and Python's own zipfile."""

from __future__ import annotations

import dataclasses
import io
import json
import resource
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_example import example
from program_strategies import programs

from ipuc.codelets.binary import BinaryOp
from ipuc.emulator.run import run
from ipuc.errors import ContainerError, TooLarge
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.save import load, read_manifest, save
from ipuc.program.steps import Repeat, Sequence, Step
from ipuc.target import parse_target

FIXTURE_IS_READ_ONLY = [HealthCheck.function_scoped_fixture]


def equal(a: Any, b: Any) -> bool:
    """Whether two records hold the same, arrays by dtype and content."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        same_kind = (a.dtype, a.shape) == (b.dtype, b.shape)
        return same_kind and bool(a.tobytes() == b.tobytes())
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return all(equal(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return repr(a) == repr(b)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "example.ipu"
    save(example(), path)
    return path


def test_what_is_loaded_is_what_was_saved(saved: Path) -> None:
    before, after = example(), load(saved)
    assert equal(before, after)
    assert len(after.compute_sets()) == len(before.compute_sets())
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert equal(run(before, {"x: 0": x}), run(after, {"x: 0": x}))


def test_equal_sees_a_difference(saved: Path) -> None:
    after = load(saved)
    after.constants[1][3] += 1
    assert not equal(example(), after)


@settings(max_examples=50, deadline=None, suppress_health_check=FIXTURE_IS_READ_ONLY)
@given(programs(registered=True))
def test_any_program_comes_back(tmp_path: Path, program: Program) -> None:
    save(program, tmp_path / "p.ipu")
    assert equal(load(tmp_path / "p.ipu", check=False), program)


def test_same_program_same_bytes(saved: Path, tmp_path: Path) -> None:
    save(load(saved), tmp_path / "again.ipu")
    assert (tmp_path / "again.ipu").read_bytes() == saved.read_bytes()


def test_others_can_read_it(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "manifest.json"
        with archive.open("constants/1.npy") as member:
            weights = np.load(member, allow_pickle=False)
    assert np.array_equal(weights, np.linspace(-1, 1, 8, dtype=np.float32))
    manifest = read_manifest(saved)
    assert (manifest["format"], manifest["version"]) == ("ipuc-program", 2)
    assert manifest["counts"]["vertices"] == 8


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    save(example(), tmp_path / "p.ipu", progress=lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


@settings(max_examples=300, deadline=None, suppress_health_check=FIXTURE_IS_READ_ONLY)
@given(st.data())
def test_a_changed_byte_is_refused_or_harmless(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(saved.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    assert harmless_or_refused(content, tmp_path / "flipped.ipu")


def harmless_or_refused(content: bytes | bytearray, path: Path) -> bool:
    """Whether a file is refused with its name and a way out, or is the example after all."""
    path.write_bytes(content)
    try:
        return equal(load(path), example())
    except ContainerError as error:
        return error.where == str(path) and bool(error.fix)


def test_every_byte_of_the_directory_matters_or_not(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    for at in range(content.index(b"PK\x01\x02"), len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x81
        assert harmless_or_refused(flipped, tmp_path / "flipped.ipu"), at


@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURE_IS_READ_ONLY)
@given(st.data())
def test_a_file_cut_short_is_refused(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = saved.read_bytes()
    path = tmp_path / "short.ipu"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ContainerError, match=r"damaged|no ipuc program"):
        load(path)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def other_manifest(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", '{"format": "holiday"}')


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("just text"),
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50)),
        other_zip,
        other_manifest,
    ],
)
def test_something_else_is_refused(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "other.ipu"
    make(path)
    with pytest.raises(ContainerError, match="no ipuc program") as caught:
        load(path)
    assert caught.value.where == str(path)


def test_a_model_is_told_from_a_program(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08\x12\x00")
    with pytest.raises(ContainerError) as caught:
        load(path)
    assert caught.value.fix == "compile the model first: ipuc compile net.onnx"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="no such file"):
        load(tmp_path / "none.ipu")
    with pytest.raises(ContainerError, match="directory"):
        load(tmp_path)


def rewritten(source: Path, path: Path, change: dict[str, bytes]) -> Path:
    """Copy a program file, with other contents for some members, checksums made right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = change.get(info.filename, old.read(info))
            new.writestr(info.filename, content, info.compress_type)
    return path


def document(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("program.json"))


def test_a_newer_version_is_named(saved: Path, tmp_path: Path) -> None:
    manifest = read_manifest(saved) | {"version": 3, "ipuc": "9.1"}
    change = {"manifest.json": json.dumps(manifest).encode()}
    with pytest.raises(ContainerError, match=r"written by ipuc 9\.1 in version 3"):
        load(rewritten(saved, tmp_path / "new.ipu", change))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a document stands, the document itself left out."""
    found = [path] if path else []
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in inner:
        found += leaves(item, (*path, key))
    return found


WRONG = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        3,
        99,
        1 << 40,
        1 << 70,
        1.5,
        "",
        "x",
        [],
        [0],
        [1, 2],
        {},
        {"$float": "y"},
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=FIXTURE_IS_READ_ONLY)
@given(st.data())
def test_a_wrong_value_inside_is_refused_or_sound(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = document(saved)
    place = data.draw(st.sampled_from(leaves(content)))
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[place[-1]] = data.draw(WRONG)
    else:
        del holder[place[-1]]
    change = {"program.json": json.dumps(content).encode()}
    path = rewritten(saved, tmp_path / "wrong.ipu", change)
    try:
        program = load(path)
    except (ContainerError, TooLarge) as error:
        assert error.where == str(path)  # noqa: PT017 - either outcome is right
        return
    save(program, tmp_path / "sound.ipu")
    assert equal(load(tmp_path / "sound.ipu"), program)


@pytest.mark.parametrize("number", [1 << 62, -(1 << 62)])
def test_a_number_of_a_table_stays_where_sums_fit(saved: Path, tmp_path: Path, number: int) -> None:
    with zipfile.ZipFile(saved) as archive:
        tables = np.load(io.BytesIO(archive.read("tables.npy")))
    tables[-1] = number
    content = io.BytesIO()
    np.save(content, tables)
    path = rewritten(saved, tmp_path / "wrong.ipu", {"tables.npy": content.getvalue()})
    with pytest.raises(ContainerError, match="a number in a table is out of range"):
        load(path)


def changed(saved: Path, path: Path, place: tuple[Any, ...], value: Any) -> Path:
    content = document(saved)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    assert not equal(holder[place[-1]], value)
    holder[place[-1]] = value
    return rewritten(saved, path, {"program.json": json.dumps(content).encode()})


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (("variables", 0, 1), "object", "elements of type 'object'"),
        (("variables", 0, 2), [4, 3], "does not fill"),
        (("target", "tiles"), 1, "mapped to tile"),
        (("target", "tiles"), 0, "the target's tiles is 0"),
        (("families", 0, 0), 7, "a codelet's id is 7"),
        (("families", 0, 3, "a", 0), 99, "a variable's id is 99"),
        (("families", 0, 3, "a", 1, 0), 3, "window covers elements 3 to 10"),
        (("families", 0, 3, "a", 1, 0), -1, "window covers elements -1 to 6"),
        (("compute_sets", 0, 1, 0), -1, "a family's id is -1"),
        (
            ("functions", "again"),
            ["sequence", [["call", "again", "", "forward", []]]],
            "call themselves",
        ),
        (("main", 1, 0), ["launch", 1], "a step is"),
        (("constants",), [1], "other members than it names"),
        (("values", "y", 2, 0, 3), 7, 'a view leaves variable "y"'),
        (("values", "y", 2), [], "the pieces of a tensor do not cover it"),
        (("metadata",), [], "the metadata is"),
    ],
)
def test_what_is_wrong_is_named(
    saved: Path, tmp_path: Path, place: tuple[Any, ...], value: Any, match: str
) -> None:
    with pytest.raises(ContainerError, match=match):
        load(changed(saved, tmp_path / "wrong.ipu", place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("variables", 5, 2), [1 << 40]),
        (("values", "y"), [[1 << 40], "float32", [[[0], "fill", 0.0, [1 << 40]]]]),
        (("main", 1, 0), ["out", "out/y", [[1 << 40], "bool", [[[0], "fill", 0, [1 << 40]]]]]),
        (("families", 0, 3, "a", 2), [1 << 30, 1 << 10]),
    ],
)
def test_a_small_file_that_asks_for_terabytes_is_refused(
    saved: Path, tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    with pytest.raises(TooLarge, match="expands to"):
        load(changed(saved, tmp_path / "bomb.ipu", place, value))


def test_a_zip_bomb_is_refused_before_it_expands(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "bomb.ipu", {"tables.npy": bytes(1 << 24)})
    assert path.stat().st_size < 1 << 16
    with pytest.raises(TooLarge, match="1,000,000 are allowed"):
        load(path, max_bytes=1_000_000)


def test_pickles_are_not_read(saved: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.npy"
    np.save(evil, np.array([print], object), allow_pickle=True)
    change = {"constants/1.npy": evil.read_bytes()}
    with pytest.raises(ContainerError, match="damaged"):
        load(rewritten(saved, tmp_path / "evil.ipu", change))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "p.ipu"
    path.write_bytes(b"old")
    program = example()
    program.constants[1] = np.zeros(1 << 20, np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to let files grow beyond this, as it would on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(ContainerError, match="cannot be written") as caught:
            save(program, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.where == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["p.ipu"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt(done, of)

    with pytest.raises(KeyboardInterrupt):
        save(example(), tmp_path / "p.ipu", progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="No such file"):
        save(example(), tmp_path / "none" / "p.ipu")


def test_metadata_that_is_no_json_is_refused(tmp_path: Path) -> None:
    program = example()
    program.metadata["when"] = {1, 2}
    with pytest.raises(ContainerError, match="type set cannot be saved"):
        save(program, tmp_path / "p.ipu")
    assert not list(tmp_path.iterdir())


def test_steps_nested_without_end_are_refused(tmp_path: Path) -> None:
    program = example()
    step: Step = Sequence(())
    for _ in range(5000):
        step = Repeat(1, step)
    program.main = Sequence((step,))
    with pytest.raises(ContainerError, match="nested deeper"):
        save(program, tmp_path / "p.ipu")


def test_a_users_codelet_must_be_imported_first(tmp_path: Path) -> None:
    module = """
        from dataclasses import dataclass
        from ipuc.codelets.define import In, Out
        from ipuc.codelets.binary import BinaryOp

        @dataclass(frozen=True)
        class Mine(BinaryOp):
            name = "MineAlone"
    """
    use = """
        import sys
        from ipuc.program.builder import Builder
        from ipuc.program.save import save, load
        from ipuc.target import CATALOGUE
        if sys.argv[1] == "save":
            from mine import Mine
            build = Builder(CATALOGUE["tiny"])
            x = build.variable("x", "float32", (4,))
            build.map_linear(x)
            with build.compute_set("c") as c:
                f = build.blocks(x, [2])
                c.add(Mine("add"), [0, 1], a=f, b=f, out=f)
            save(build._program(), "p.ipu")
        else:
            if sys.argv[1] == "import":
                import mine
            print(load("p.ipu").compute_sets()[0].families[0].codelet)
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(module))
    (tmp_path / "use.py").write_text(textwrap.dedent(use))

    def python(word: str) -> subprocess.CompletedProcess[str]:
        code = [sys.executable, "use.py", word]
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            code,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": root},
        )

    assert python("save").returncode == 0
    failed = python("plain")
    assert 'uses codelet "MineAlone" of module "mine"' in failed.stderr
    assert "fix: import mine before the program is loaded" in failed.stderr
    assert python("import").stdout.startswith("Mine(op='add'")


def test_a_program_with_a_race_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    builder = Builder(parse_target("tiny"))
    x, y = (builder.variable(name, "float32", (4,)) for name in "xy")
    for tensor in (x, y):
        builder.map_linear(tensor)
    with builder.compute_set("race") as compute_set:
        shared = builder.field(y, [[0, 1]], (3,))
        inputs = builder.field(x, [[0, 1]], (3,))
        compute_set.add(BinaryOp("add"), range(2), a=inputs, b=inputs, out=shared)
    save(builder._program(), tmp_path / "race.ipu")
    with pytest.raises(ContainerError, match="written by two vertices"):
        load(tmp_path / "race.ipu")
    assert load(tmp_path / "race.ipu", check=False).variables[0].name == "x"
    # what is only drawn need not be free of races, but whole
    assert load(tmp_path / "race.ipu", races=False).variables[0].name == "x"
    program = builder._program()
    program.variables[0].mapped().tiles[:] = 99
    save(program, tmp_path / "lost.ipu")
    with pytest.raises(ContainerError, match="tile"):
        load(tmp_path / "lost.ipu", races=False)
