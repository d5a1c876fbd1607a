"""Every light model of the onnx package becomes a picture without tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from ipuc.cli import main
from ipuc.program.enumerate import VertexGraph
from ipuc.program.save import load
from ipuc.render.place import DISC
from ipuc.render.provenance import read_png

_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_MODELS = sorted(path.stem for path in _FOLDER.glob("*.onnx"))

#: Small enough for every run of the tests, on a machine of a few tiles.
_QUICK = "light_squeezenet"


def drawn_well(model: str, folder: Path, *options: str) -> None:
    """Compile and draw; the picture says what is in it, and the disc is full to its rim."""

    def ipuc(*words: object) -> None:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code in (0, 3), (
            done.output
        )  # 3: it does not fit, and is drawn all the same

    program, picture = folder / "m.ipu", folder / "m.png"
    ipuc("compile", _FOLDER / f"{model}.onnx", "-o", program, "--no-remedies", *options)
    ipuc("render", program, "--size", 512, "--no-cache", "-o", picture)
    about, graph = read_png(picture).text, VertexGraph(load(program))
    counts = {
        "nodes": graph.nodes,
        "vertices": graph.vertices,
        "regions": graph.regions,
        "edges": graph.edges(),
    }
    assert {name: int(about[f"ipuc.{name}"]) for name in counts} == counts
    with Image.open(picture) as image:
        light = np.asarray(image.convert("L"), np.float32)
    y, x = np.mgrid[:512, :512] + 0.5
    away, turn = np.hypot(x - 256, y - 256) / 512, np.arctan2(y - 256, x - 256)
    # Something in each twelfth of the disc, inside and near the rim, and no blot of one colour.
    for first, last in ((0.0, 0.6 * DISC), (0.6 * DISC, DISC)):
        for sector in range(12):
            part = np.abs(np.mod(turn - sector * np.pi / 6 + np.pi, 2 * np.pi) - np.pi) < np.pi / 12
            seen = light[part & (away >= first) & (away < last)]
            assert seen.max() > 40, (sector, first)
            assert seen.std() > 4, (sector, first)
    # Nothing outside it but the caption and the legend in the lower corners.
    assert light[(away > DISC + 0.03) & (y < 440)].max() < 20


def test_there_are_nine() -> None:
    assert len(_MODELS) == 9


def test_a_light_model_is_drawn_without_tuning(tmp_path: Path) -> None:
    drawn_well(_QUICK, tmp_path, "--target", "gc200,tiles=48")


@pytest.mark.full
@pytest.mark.parametrize("model", _MODELS)
def test_every_light_model_is_drawn_without_tuning(tmp_path: Path, model: str) -> None:
    drawn_well(model, tmp_path)
