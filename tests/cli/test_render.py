"""`ipuc render`: looks, labels, sheets, frames, and what is refused before any work."""

import json
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli_models import Run, only, save_model
from onnx import helper
from PIL import Image

from ipuc import zoo
from ipuc.render.provenance import read_png

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="net")
def net_fixture(folder: Path) -> Path:
    """Two products with a Relu between: float32[1, 8] to float32[1, 6]."""
    weights = {"a": np.ones((8, 12), np.float32), "b": np.ones((12, 6), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "b"], ["y"], name="second"),
    ]
    return save_model(folder / "net.onnx", nodes, {"x": [1, 8]}, {"y": [1, 6]}, weights)


def test_the_preset_makes_a_labelled_poster_of_a_model(ipuc: Run, net: Path, folder: Path) -> None:
    words = ("--preset", "2017", "--size", "400", "-o", "p.png", "--json", "--debug")
    done = ipuc("render", net, *words)
    facts = done.json()
    assert facts["size"] == 400
    assert facts["labels"] > 0
    with Image.open(folder / "p.png") as image:
        assert image.getpixel((1, 1)) in ((254, 254, 253), 0) or image.mode == "P"
        assert image.convert("RGB").getpixel((1, 1)) == (254, 254, 253)
    text = read_png(folder / "p.png").text
    assert text["ipuc.command"] == "ipuc render net.onnx --size 400 --preset 2017"
    assert text["ipuc.palette"] == "alex"
    assert int(text["ipuc.nodes"]) == facts["nodes"] == facts["vertices"] + facts["regions"]
    assert {"ipuc.model", "ipuc.sha256", "ipuc.version", "ipuc.seed", "ipuc.edges"} <= set(text)


def test_a_small_program_is_drawn_and_told_how_to_look_better(ipuc: Run, net: Path) -> None:
    done = ipuc("render", net, "--target", "tiny", "--size", "64", "-o", "g.png")
    assert done.code == 0
    assert "for the look of 2017: ipuc render net.onnx --preset 2017 -o poster.png" in done.err


def test_svg_holds_text(ipuc: Run, net: Path, folder: Path) -> None:
    done = ipuc("render", net, "--target", "tiny", "--size", "300", "--label", "-o", "g.svg")
    assert done.code == 0, done.err
    root = ET.parse(folder / "g.svg").getroot()
    texts = [one.text or "" for one in root.iter(f"{_SVG}text")]
    assert any("nodes = " in text for text in texts)
    assert any("Fully connected" in text for text in texts)


def test_labels_go_out_and_come_back(ipuc: Run, net: Path, folder: Path) -> None:
    words = ("render", net, "--target", "tiny", "--size", "300")
    assert ipuc(*words, "--write-labels", "l.json", "-o", "a.svg").code == 0
    rows = json.loads((folder / "l.json").read_text(encoding="utf-8"))
    rows[0]["name"] = "The first"
    (folder / "l.json").write_text(json.dumps(rows[:1]), encoding="utf-8")
    assert ipuc(*words, "--labels", "l.json", "-o", "b.svg").code == 0
    assert "The first" in (folder / "b.svg").read_text(encoding="utf-8")
    (folder / "l.json").write_text("[1]", encoding="utf-8")
    assert "row 1 of the labels" in ipuc(*words, "--labels", "l.json", "-o", "c.svg").err


@pytest.mark.parametrize(
    "options",
    [
        ("--colour-by", "layer"),
        ("--color-by", "pass", "--palette", "cividis"),
        ("--colour-by", "memory", "--palette", "astro"),
        ("--colour-by", "exchange", "--dither", "8"),
        ("--ground", "transparent", "--title", "A title"),
        ("--paper", "A3", "--dpi", "36", "--label"),
        ("--sheet",),
        ("--mode", "activity", "--palette", "coral"),
    ],
)
def test_every_look_can_be_drawn(
    ipuc: Run, net: Path, folder: Path, options: tuple[str, ...]
) -> None:
    size = () if "--paper" in options else ("--size", "240")
    done = ipuc("render", net, "--target", "tiny", *size, *options, "-o", "g.png")
    assert done.code == 0, done.err
    with Image.open(folder / "g.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 5
        assert image.mode == "RGBA" if "transparent" in options else image.mode in ("RGB", "P")


def test_frames_show_every_superstep(ipuc: Run, net: Path, folder: Path) -> None:
    facts = ipuc(
        "render", net, "--target", "tiny", "--size", "96", "--frames", "f", "--json"
    ).json()
    files = sorted((folder / "f").iterdir())
    assert len(files) == facts["frames"] >= 3
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    assert any((one != pictures[0]).any() for one in pictures[1:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--inset", "furst"), "did you mean first"),
        (("--inset", "first@x"), "no magnification"),
        (("--inset", "first@99999999999999"), "no magnification"),
        (("--ground", "mauve"), "no colour"),
        (("--size", "300", "--paper", "A3"), "--size and --paper contradict"),
        (("--mode", "density", "--colour-by", "layer"), "contradict"),
        (("--no-label", "--labels", "x.json"), "contradict"),
        (("--paper", "A1", "--dpi", "1200"), "dots per inch"),
        (("--labels", "missing.json"), "labels cannot be read"),
        (("--labels", "."), "labels cannot be read: Is a directory"),
        (("--write-labels", "none/l.json"), "no such folder"),
        (("--write-labels", "p.png", "-o", "p.png"), "would be one file"),
        (("-o", "none/g.png"), "no such folder"),
        (("--frames", "net.onnx/x"), "folder cannot be made"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    ipuc: Run,
    net: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    says: str,
) -> None:
    with monkeypatch.context() as closed:
        # All of it is said before minutes of layout.
        closed.delattr("ipuc.render.drawn.place")
        done = ipuc("render", net, "--target", "tiny", *options)
    assert done.code == 1, done
    assert says in done.err
    assert "Traceback" not in done.err
    only(folder, "net.onnx")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"cell": 0', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{}", "no list"),
        ('[{"cell": true}]', "names no cell"),
        ('[{"cell": 0, "nmae": "a"}]', "did you mean name?"),
        ('[{"cell": 0, "name": 5}]', '"name" is no text'),
        ('[{"cell": 0}, {"cell": 0}]', "has two rows"),
    ],
)
def test_damaged_labels_are_said(
    ipuc: Run, net: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    (folder / "l.json").write_text(text, encoding="utf-8")
    monkeypatch.delattr("ipuc.render.drawn.place")
    done = ipuc("render", net, "--target", "tiny", "--labels", "l.json", "-o", "g.png")
    assert done.code == 1, done
    assert says in done.err
    only(folder, "net.onnx", "l.json")


def test_rows_without_words_are_no_labels(ipuc: Run, net: Path, folder: Path) -> None:
    row = '[{"cell": 0, "name": "", "passes": "", "sizes": ""}]'
    (folder / "l.json").write_text(row, encoding="utf-8")
    words = ("--target", "tiny", "--size", "200", "--labels", "l.json", "--json")
    assert ipuc("render", net, *words).json()["labels"] == 0


@pytest.mark.parametrize("name", ["g.png", "g.svg"])
def test_a_title_may_hold_anything(ipuc: Run, net: Path, folder: Path, name: str) -> None:
    title = "two\nlines\tand \x01 \udcff"
    done = ipuc("render", net, "--target", "tiny", "--size", "200", "--title", title, "-o", name)
    assert done.code == 0, done.err
    if name.endswith("svg"):
        texts = [one.text or "" for one in ET.parse(folder / name).getroot().iter(f"{_SVG}text")]
        assert any(text.startswith("two lines and ") for text in texts)
    else:
        assert "--title" in read_png(folder / name).text["ipuc.command"]


@pytest.mark.parametrize("at", ["compose.paint", "pixels._draw_one", "svg.png_bytes"])
def test_stopped_while_painting_leaves_nothing(
    ipuc: Run, net: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def stop(*_words: object, **_more: object) -> None:
        raise KeyboardInterrupt

    name = "g.svg" if at.startswith("svg") else "g.png"
    (folder / name).write_bytes(b"the picture of before")
    monkeypatch.setattr(f"ipuc.render.poster.{at}", stop)
    done = ipuc("render", net, "--target", "tiny", "--size", "200", "-o", name)
    assert (done.code, done.err.strip()) == (130, "stopped")
    assert (folder / name).read_bytes() == b"the picture of before"
    only(folder, "net.onnx", name)


def test_a_layout_that_cannot_be_kept_is_drawn(
    ipuc: Run, net: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ipuc("compile", net, "--target", "tiny").code == 0
    monkeypatch.setattr("ipuc.render.drawn.KEPT_FROM", 1)
    # A folder has the name of the file that would be kept.
    (folder / "net.layout-0.npz").mkdir()
    for _ in range(2):
        done = ipuc("render", "net.ipu", "--size", "64", "-o", "g.png")
        assert done.code == 0, done.err
        assert "the layout is not kept" in done.err
    only(folder, "net.onnx", "net.ipu", "net.layout-0.npz", "g.png")


def way_out(message: str) -> list[str]:
    """The command that an error offers."""
    (line,) = (line for line in message.splitlines() if "ipuc render " in line)
    return shlex.split(line.partition("ipuc render ")[2])


@pytest.mark.parametrize("compiled", [True, False])
def test_above_the_limit_the_finest_granularity_that_fits_is_offered(
    ipuc: Run, folder: Path, compiled: bool
) -> None:
    """The command works when it is pasted, and draws as many nodes as were promised."""
    net = zoo.write("digits", folder / "net.onnx")
    how = ("--target", "gc200,tiles=8", "--granularity", "fine", "--batch", "1")
    words = ("--size", "64", "--title", 'a "b" c', "-o", "g h.png")
    nodes = {}
    for granularity in ("tile", "worker", "fine"):
        done = ipuc("compile", net, *how, "--granularity", granularity, "--json")
        nodes[granularity] = done.json()["graph"]["nodes"]
    assert nodes["tile"] < nodes["worker"] < nodes["fine"]
    source = ("net.ipu",) if compiled else (net, *how)
    done = ipuc("render", *source, *words, "--max-nodes", str(nodes["fine"] - 1))
    assert done.code == 1
    assert f"{nodes['fine']:,} nodes, more than" in done.err
    assert f"({nodes['worker']:,} nodes, about" in done.err
    assert not (folder / "g h.png").exists()
    command = way_out(done.err)
    assert command[command.index("--granularity") + 1] == "worker"
    assert ipuc("render", *command).code == 0
    assert read_png(folder / "g h.png").text["ipuc.nodes"] == str(nodes["worker"])

    done = ipuc("render", *source, *words, "--max-nodes", str(nodes["worker"] - 1))
    command = way_out(done.err)
    assert command[command.index("--granularity") + 1] == "tile"
    assert ipuc("render", *command).code == 0

    done = ipuc("render", *source, *words, "--max-nodes", "10")
    assert f"worker {nodes['worker']:,}, tile {nodes['tile']:,}" in done.err
    assert f"--max-nodes {nodes['fine']} draws it all the same" in done.err
    assert ipuc("render", *source, *words, "--max-nodes", str(nodes["fine"])).code == 0


def test_what_cannot_be_counted_is_said(
    ipuc: Run, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = ("--target", "tiny", "--granularity", "worker")
    with monkeypatch.context() as hurried:
        hurried.setattr("ipuc.cli.affordable._PATIENCE", 0)
        done = ipuc("render", net, *how, "--max-nodes", "10")
    assert "not counted: that would take too long" in done.err
    assert "--granularity tile" in shlex.join(way_out(done.err))
    assert ipuc("compile", net, *how).code == 0
    net.unlink()
    done = ipuc("render", "net.ipu", "--max-nodes", "10")
    assert "not at hand" in done.err
    assert ipuc("export", "net.ipu", "--graph", "g.npz", "--max-nodes", "10").code == 1


def test_a_picture_too_large_for_memory_is_refused_before_any_work(
    ipuc: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no such model: the size is what is complained about.
    monkeypatch.setattr("ipuc.render.paint.free_memory", lambda: 2_000_000_000)
    done = ipuc("render", "missing.onnx", "--size", "16384")
    assert done.code == 1
    assert "GB are free" in done.err
    assert not list(folder.glob("*.png"))


def test_a_program_without_vertices_says_so(ipuc: Run, folder: Path) -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="reshape")
    shape = {"s": np.array([6], np.int64)}
    model = save_model(folder / "view.onnx", [node], {"x": [2, 3]}, {"y": [6]}, shape)
    assert onnx.load(model).graph.node
    done = ipuc("render", model, "--target", "tiny", "--size", "64")
    assert done.code == 1
    assert "no vertices to draw" in done.err


def test_what_does_not_fit_is_drawn_and_says_so(ipuc: Run, net: Path, folder: Path) -> None:
    words = ("--target", "tiny,tile_memory_bytes=1024", "--size", "300", "--label", "-o", "g.svg")
    done = ipuc("render", net, *words)
    assert done.code == 0, done.err
    assert "does not fit its target" in (folder / "g.svg").read_text(encoding="utf-8")
