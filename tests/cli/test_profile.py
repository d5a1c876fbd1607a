"""`ipuc profile`, and what `compile` and `run` say about memory."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, only, save_model
from onnx import helper

from ipuc.codelets.unary import UnaryOp
from ipuc.profile.cycles import supersteps
from ipuc.profile.memory import memory
from ipuc.program.builder import Builder
from ipuc.program.save import load, save
from ipuc.target import CATALOGUE

TABLES = {
    "layer": "layers",
    "compute-set": "compute_sets",
    "codelet": "vertex_types",
    "tile": "tiles",
    "step": "steps",
    "ipu": "by_ipu",
}


@pytest.fixture
def net(folder: Path) -> Path:
    """A product of 64 x 64, a Relu and a Softmax."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Softmax", ["b"], ["y"], name="classes"),
    ]
    return save_model(folder / "net.onnx", nodes, {"x": [2, 64]}, {"y": [2, 64]}, {"w": weight})


@pytest.fixture
def compiled(ipuc: Run, net: Path, folder: Path) -> Path:
    done = ipuc("compile", net, "--target", "tiny")
    assert done.code == 0, done.err
    return folder / "net.ipu"


def test_json_agrees_with_itself_and_with_the_program(ipuc: Run, compiled: Path) -> None:
    done = ipuc("profile", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    program = load(compiled)
    cycles = found["cycles"]
    assert cycles["total"] == cycles["compute"] + cycles["exchange"] + cycles["sync"]
    assert cycles["total"] == sum(step.cycles * step.times for step in supersteps(program))
    assert found["basis"] == "modelled, not measured"
    assert found["seconds"] == cycles["total"] / CATALOGUE["tiny"].clock_hz
    for table in ("layers", "compute_sets"):
        for part in ("cycles", "compute", "exchange", "sync"):
            total = cycles["total" if part == "cycles" else part]
            assert sum(row[part] for row in found[table]) == total
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert [row["name"] for row in found["layers"]] == ["product", "relu", "classes"]
    assert found["layers"][0]["flops"] == found["flops"] - sum(
        row["flops"] for row in found["layers"][1:]
    )
    assert found["layers"][0]["flops"] >= 2 * 2 * 64 * 64
    need = memory(program)
    assert found["memory"]["max_tile_bytes"] == need.max_tile_bytes
    assert [row["memory_bytes"] for row in found["tiles"]] == need.tile_bytes.tolist()
    totals = [row["total_bytes"] for row in found["memory"]["categories"].values()]
    assert sum(totals) == found["memory"]["total_bytes_including_gaps"] == need.tile_bytes.sum()
    assert found["memory"]["total_bytes"] == need.total_bytes == need.live_bytes.sum()
    assert max(row["max_tile_bytes"] for row in found["steps"]) == need.max_live_bytes
    parts = ("always_live_bytes", "not_always_live_bytes", "gap_bytes")
    assert all(row["memory_bytes"] == sum(row[part] for part in parts) for row in found["tiles"])
    layers = [row for row in found["layers"] if row["peak_tile_bytes"] is not None]
    assert max(row["peak_tile_bytes"] for row in layers) <= need.max_live_bytes
    # 64 x 64 weights, which no other layer has
    assert layers[0]["always_live_bytes"] > 4 * 64 * 64
    assert layers[0]["not_always_live_bytes"] == max(
        row["not_always_live_bytes"] for row in found["steps"] if row["layer"] == "product"
    )
    assert sum(row["vertices"] for row in found["vertex_types"]) == found["vertices"]
    assert sum(row["edges"] for row in found["vertex_types"]) == found["edges"]


def test_the_mean_tile(ipuc: Run, compiled: Path) -> None:
    found = json.loads(ipuc("profile", compiled, "--json").out)
    average, cycles = found["tile_average"], found["cycles"]
    mean = sum(row["compute"] for row in found["tiles"]) / found["tile_count"]
    assert average["compute"] == pytest.approx(mean)
    assert average["sync"] == cycles["sync"]
    for part in ("compute", "exchange"):
        assert cycles[part] / found["tile_count"] <= average[part] <= cycles[part]


def test_every_total_carries_the_error_of_the_model(ipuc: Run, net: Path) -> None:
    """A product with weights is a fully connected layer; the figures are those of the JSON."""
    compiled = ipuc("compile", net, "--target", "tiny")
    error = json.loads(ipuc("profile", "--json").out)["error"]
    assert "fc median" in error["text"]
    assert "not hardware" in error["text"]
    assert error["text"] in compiled.out
    assert json.loads(ipuc("compile", net, "--target", "tiny", "--json").out)["error"] == error
    assert json.loads(ipuc("info", "net.ipu", "--json").out)["error"] == error
    for by in TABLES:
        done = ipuc("profile", "--by", by)
        table = done.out.split("\n\n")[1]
        assert error["memory_text" if by == "step" else "text"] in table.splitlines()[-1]
        assert error["text"] in done.out.split("\n\n")[0]
        assert error["memory_text"] in done.out.split("\n\n")[0]


def test_a_note_of_a_stranger_is_not_obeyed(ipuc: Run, compiled: Path) -> None:
    program = load(compiled)
    for error in ("x", {"text": 3}, None):
        program.metadata["modelled"]["error"] = error
        save(program, compiled)
        done = ipuc("info", compiled)
        assert done.code == 0, done.err
        assert "cycles" in done.out


def test_shares_of_the_peak(ipuc: Run, compiled: Path) -> None:
    found = json.loads(ipuc("profile", compiled, "--json").out)
    tiny = CATALOGUE["tiny"]
    peak = 2 * tiny.conv_units_float32 * tiny.tiles * tiny.clock_hz
    assert found["peak_tflops"] == peak / 1e12
    rate = found["flops"] / found["seconds"]
    assert found["peak_share"] == pytest.approx(rate / peak)
    assert 0 < found["peak_share"] < 1


@pytest.mark.parametrize(("by", "key"), TABLES.items())
def test_every_table(ipuc: Run, compiled: Path, by: str, key: str) -> None:
    rows = json.loads(ipuc("profile", compiled, "--json").out)[key]
    done = ipuc("profile", compiled, "--by", by, "--csv", "table.csv", "--top", "2")
    assert done.code == 0, done.err
    assert "modelled, not measured" in done.out
    assert ("more: --top" in done.out) == (len(rows) > 2)
    with Path("table.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [list(row) for row in written] == [list(row) for row in rows]
    others = {"tile": "memory_bytes", "step": "not_always_live_bytes", "ipu": "max_tile_bytes"}
    column = others.get(by, "name")
    assert [row[column] for row in written] == [str(row[column]) for row in rows]


def test_rows_in_order(ipuc: Run, compiled: Path) -> None:
    for words in (("--sort", "cycles"), ("--sort", "bytes-exchanged")):
        done = ipuc("profile", compiled, "--by", "compute-set", *words, "--csv", "t.csv")
        assert done.code == 0, done.err
        with Path("t.csv").open(newline="", encoding="utf-8") as file:
            column = words[1].replace("-", "_")
            values = [int(row[column]) for row in csv.DictReader(file)]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) > 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sort", "cycle"), "did you mean cycles"),
        (("--sort", "nodes"), "no order"),
        (("--fail-over", "cycles=2%"), "--compare"),
        (("--compare", "net.ipu", "--fail-over", "speed=2%"), "speed"),
        (("--compare", "net.ipu", "--fail-over", "cycles=2"), "cycles=2%"),
        (("--compare", "net.ipu", "--fail-over", "cycles=x%"), "cycles=2%"),
        (("--compare", "net.ipu", "--fail-over", "cycles=nan%"), "cycles=2%"),
        (("--compare", "nothing.json"), "profile --json"),
        (("--compare", "other.json"), "profile --json"),
    ],
)
def test_options_that_make_no_sense(
    ipuc: Run, compiled: Path, words: tuple[str, ...], says: str
) -> None:
    Path("other.json").write_text('{"cycles": 3}', encoding="utf-8")
    done = ipuc("profile", compiled, *words)
    assert done.code == 1
    assert says in done.err


def test_comparing(ipuc: Run, net: Path, compiled: Path) -> None:
    done = ipuc("profile", net, "--target", "tiny,sync_cycles=200", "--json")
    Path("slow.json").write_text(done.out, encoding="utf-8")
    slow = json.loads(done.out)["cycles"]["total"]
    quick = json.loads(ipuc("profile", compiled, "--json").out)["cycles"]["total"]
    assert quick < slow
    limits = ("--fail-over", "cycles=2%,memory=0%")
    done = ipuc("profile", compiled, "--compare", "slow.json", *limits)
    assert done.code == 0, done.err
    assert f"{quick / slow - 1:+.1%}" in done.out
    ipuc("compile", net, "--target", "tiny,sync_cycles=200", "-o", "slow.ipu")
    done = ipuc("profile", "slow.ipu", "--compare", compiled, *limits, "--json")
    assert done.code == 1
    changes = json.loads(done.out)["compare"]
    assert changes["cycles"] == {
        "other": quick,
        "this": slow,
        "change": pytest.approx(slow / quick - 1),
        "over": True,
    }
    assert changes["memory"]["over"] is False
    assert "cycles" in done.err


def test_the_layers_that_changed_are_named(ipuc: Run, net: Path, compiled: Path) -> None:
    done = ipuc("profile", net, "--target", "tiny,sync_cycles=200", "--json")
    Path("slow.json").write_text(done.out, encoding="utf-8")
    done = ipuc("profile", compiled, "--compare", "slow.json")
    rows = done.out.split("layers that changed most, cycles\n")[1].splitlines()
    mine, slow = (
        {row["name"]: row["cycles"] for row in json.loads(text)["layers"]}
        for text in (ipuc("profile", compiled, "--json").out, Path("slow.json").read_text("utf-8"))
    )
    told = [row.split() for row in rows[:3]]
    by_change = sorted(mine, key=lambda name: mine[name] - slow[name])
    assert told == [
        [name, f"{mine[name]:,}", f"{slow[name]:,}", f"{mine[name] - slow[name]:+,}"]
        for name in by_change
    ]
    found = json.loads(ipuc("profile", compiled, "--compare", "slow.json", "--json").out)
    assert [row["name"] for row in found["compare_layers"]] == by_change
    same = ipuc("profile", compiled, "--compare", compiled)
    assert "layers that changed" not in same.out


def test_layers_of_a_file_of_unknown_origin(ipuc: Run, compiled: Path) -> None:
    """What is no row of a layer is not compared; a layer of one side only has no other figure."""
    found = json.loads(ipuc("profile", compiled, "--json").out)
    rows = [{"name": "gone", "cycles": 7}, {"name": "x", "cycles": "many"}, 3, {"cycles": 4}]
    for layers, names in ((rows, {"gone"}), ("none", set()), (None, set())):
        Path("odd.json").write_text(json.dumps({**found, "layers": layers}), encoding="utf-8")
        done = ipuc("profile", compiled, "--compare", "odd.json", "--json")
        assert done.code == 0, done.err
        changed = {row["name"]: row["other"] for row in json.loads(done.out)["compare_layers"]}
        assert {name for name, other in changed.items() if other is not None} == names
        assert ipuc("profile", compiled, "--compare", "odd.json").code == 0


def test_csv_on_standard_output(ipuc: Run, compiled: Path, folder: Path) -> None:
    for by in TABLES:
        words = ("profile", compiled, "--by", by)
        printed = ipuc(*words, "--csv", "-")
        assert printed.code == 0, printed.err
        ipuc(*words, "--csv", "t.csv")
        assert printed.out == Path("t.csv").read_text("utf-8")
    assert not (folder / "-").exists()
    done = ipuc("profile", compiled, "--csv", "-", "--json")
    assert done.code == 1
    assert "standard output" in done.err


def test_a_packed_timeline(ipuc: Run, compiled: Path) -> None:
    ipuc("profile", compiled, "--trace", "t.json")
    done = ipuc("profile", compiled, "--trace", "t.json.gz")
    assert done.code == 0, done.err
    packed = Path("t.json.gz").read_bytes()
    assert gzip.decompress(packed) == Path("t.json").read_bytes()
    assert len(packed) < Path("t.json").stat().st_size / 3


def test_cycles_by_pass(ipuc: Run, folder: Path) -> None:
    build = Builder(CATALOGUE["tiny"])
    x, out = build.input("x", "float32", (8,)), build.variable("out", "float32", (8,))
    for name in ("forward", "backward"):
        build.layer_pass = name
        with build.compute_set(name) as made:
            made.add(UnaryOp("neg"), 1, x=x, out=out)
    build.map_rest()
    save(build.build(), folder / "p.ipu")
    found = json.loads(ipuc("profile", "p.ipu", "--json").out)
    assert found["passes"] == {row["layer_pass"]: row["cycles"] for row in found["compute_sets"]}
    assert list(found["passes"]) == ["forward", "backward"]
    assert f"backward {found['passes']['backward']:,}" in ipuc("profile", "p.ipu").out


def test_compile_tells_the_cost(ipuc: Run, net: Path, compiled: Path) -> None:
    facts = json.loads(ipuc("compile", net, "--target", "tiny", "-o", "b.ipu", "--json").out)
    found = json.loads(ipuc("profile", compiled, "--json").out)
    assert facts["cycles"] == found["cycles"]["total"]
    assert facts["seconds"] == found["seconds"]
    for key in ("max_tile_bytes", "total_bytes", "limit_bytes", "fits"):
        assert facts["memory"][key] == found["memory"][key]
    assert facts["memory"]["fits"] is True
    # `info` reads the same from the file
    assert json.loads(ipuc("info", compiled, "--json").out)["memory"] == facts["memory"]


def test_a_program_that_does_not_fit(ipuc: Run, net: Path, folder: Path) -> None:
    target = ("--target", "tiny,tile_memory_bytes=9000")
    done = ipuc("compile", net, *target)
    assert done.code == 3
    for word in ("does not fit", "tile ", "layer ", "step ", "w of product", "fix:", "--allow-oom"):
        assert word in done.err, word
    assert "does not fit" in done.out
    categories = json.loads(ipuc("profile", "net.ipu", "--json").out)["memory"]["categories"]
    largest = max(categories, key=lambda name: categories[name]["worst_tile_bytes"])
    assert f"by category: {largest} {categories[largest]['worst_tile_bytes']:,}" in done.err
    only(folder, "net.ipu", "net.onnx")
    done = ipuc("compile", net, *target, "--json")
    assert done.code == 3
    assert json.loads(done.out)["memory"]["fits"] is False
    for words in (("run",), ("run", net, *target)):
        done = ipuc(*words)
        assert (done.code, done.out) == (3, "")
        assert "does not fit" in done.err
        done = ipuc(*words, "--allow-oom", "--json")
        assert done.code == 0, done.err
        assert "warning: the program does not fit" in done.err
    done = ipuc("profile")
    assert done.code == 0
    assert done.err.count("does not fit") == 1
    done = ipuc("render", "--size", "64")
    assert done.code == 0
    assert done.err.count("does not fit") == 1


def test_a_timeline(ipuc: Run, compiled: Path) -> None:
    done = ipuc("profile", compiled, "--trace", "t.json", "--trace-tiles", "0,2-3")
    assert done.code == 0, done.err
    assert "timeline written: t.json" in done.out
    made = json.loads(Path("t.json").read_text("utf-8"))
    total = json.loads(ipuc("profile", compiled, "--json").out)["cycles"]["total"]
    assert made["otherData"]["cycles"] == total
    names = [e["args"]["name"] for e in made["traceEvents"] if e["name"] == "thread_name"]
    assert {"0", "2", "3"} <= {name.split()[1] for name in names if name.startswith("tile")}
    done = ipuc("profile", compiled, "--trace", "all.json", "--trace-tiles", "all")
    assert done.code == 0
    assert len(named_tiles(Path("all.json"))) == CATALOGUE["tiny"].tiles


def named_tiles(path: Path) -> list[str]:
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    return [name for name in names if name.startswith("tile")]


@pytest.mark.parametrize("tiles", ["4", "2-1", "x", "", "0,-1", "99999999999"])
def test_tiles_that_are_none(ipuc: Run, compiled: Path, tiles: str) -> None:
    done = ipuc("profile", compiled, "--trace", "t.json", "--trace-tiles", tiles)
    assert done.code == 1
    assert "the last tile is 3" in done.err
    assert not Path("t.json").exists()
    assert ipuc("profile", compiled, "--trace-tiles", "0").code == 1


@pytest.mark.parametrize("view", ["timeline", "memory", "liveness", "tiles"])
def test_pictures_of_a_profile(ipuc: Run, compiled: Path, folder: Path, view: str) -> None:
    done = ipuc("render", "--view", view, "--size", "320")
    assert done.code == 0, done.err
    assert "modelled, not measured" in done.out
    only(folder, "net.ipu", "net.onnx", f"net-{view}.png")
    found = ipuc("render", compiled, "--view", view, "--size", "320", "--json").json()
    assert found["pixels"] == [320, 180]
    assert ("--measure" in ipuc("render", "--view", view, "--measure", "sent").err) == (
        view != "tiles"
    )
    done = ipuc("info", f"net-{view}.png")
    assert done.code == 0, done.err
    assert view in done.out
