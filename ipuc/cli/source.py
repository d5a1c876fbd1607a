"""Which program a command works on: a `.ipu` file, a model compiled on the spot, or the newest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click

from ipuc.cli.arguments import compile_arguments
from ipuc.cli.modelled import note_cost, noted_memory, warn_if_too_large
from ipuc.cli.options import CompileOptions
from ipuc.cli.output import Progress, note, readable_seconds, shell_word, warn
from ipuc.cli.presets import settle_preset
from ipuc.cli.words import COMPILING, GIVEN, given_words
from ipuc.codelets.rounding import Arithmetic
from ipuc.errors import ImportFailure, OptionError
from ipuc.importer.digest import is_current
from ipuc.pipeline import compile_model
from ipuc.program.program import Program
from ipuc.program.save import load

#: The first bytes of every zip file, and so of every `.ipu`.
_ZIP = b"PK\x03\x04"

SUFFIX = ".ipu"


@dataclass(frozen=True, slots=True)
class Opened:
    """A program and where it comes from.

    Attributes:
        program: ready to run.
        path: the `.ipu` or `.onnx` file.
        compiled: it was compiled just now, from the model at `path`.
    """

    program: Program
    path: Path
    compiled: bool


def open_program(
    path: Path | None,
    options: CompileOptions,
    progress: Progress,
    *,
    warns: bool = True,
    races: bool = True,
) -> Opened:
    """Load or compile what a command works on.

    Args:
        path: a `.ipu` file, a model, or None for the newest `.ipu` of the current folder.
        options: how to compile a model; not allowed beside a `.ipu`, which is compiled already.
        progress: shows the stages.
        warns: say if the program does not fit the chip; a command that has more to say on that
            asks for silence.
        races: look for races in what is loaded; a command that only draws it does without.

    Raises:
        OptionError: there is no program, or options that do not apply.
        IpucError: whatever loading and compiling raise.
    """
    newest = path is None
    if path is None:
        path = _newest()
        note(f"using {path} ({readable_seconds(time.time() - path.stat().st_mtime)} old)")
    else:
        path = _completed(path)
    if not is_program(path):
        program = compile_from(path, options, progress)
        if warns:
            warn_if_too_large(noted_memory(program))
        return Opened(program, path, compiled=True)
    if options.given:
        raise OptionError(
            f"{', '.join(options.given)}: this program is compiled already",
            where=str(path),
            fix="leave the option out, or give the model (.onnx) instead of the program",
        )
    program = load(path, max_bytes=options.max_bytes, races=races)
    _set_control_bits(program, options)
    if newest:
        _warn_if_changed(program, path)
    if warns:
        warn_if_too_large(noted_memory(program))
    return Opened(program, path, compiled=False)


def _completed(path: Path) -> Path:
    """A name without its ending: the program of that name, or else the model."""
    if path.suffix or path.exists():
        return path
    for suffix in (SUFFIX, ".onnx"):
        whole = path.with_name(path.name + suffix)
        if whole.is_file():
            note(f"using {whole}")
            return whole
    return path


def _set_control_bits(program: Program, options: CompileOptions) -> None:
    """Let the options that only matter when a program runs change what it was compiled with."""
    kept = Arithmetic.of(program.metadata)
    seed = kept.seed if options.stochastic_rounding is None else options.stochastic_rounding
    program.metadata |= Arithmetic(seed, kept.saturate or options.saturate).to_metadata()


def is_program(path: Path) -> bool:
    """Whether a file is to be read as a program: by its name, or by its first bytes."""
    if path.suffix == ".onnx" or not path.is_file():
        # What is missing is complained about by the reader that its name asks for.
        return path.suffix == SUFFIX
    if path.suffix == SUFFIX:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == _ZIP and path.suffix not in (".pt", ".pth", ".keras", ".npz")
    except OSError as error:
        raise ImportFailure(
            f"the file cannot be read: {error.strerror}", where=str(path), fix="check permissions"
        ) from error


def compile_from(model: Path, options: CompileOptions, progress: Progress) -> Program:
    """Compile a model as the options say, and note them and what it would cost on the chip.

    What it raises: see `ipuc.pipeline.compile_model`.
    """
    arguments = compile_arguments(settle_preset(options, model))
    program = compile_model(model, **arguments, progress=progress)
    ctx = click.get_current_context(silent=True)
    if ctx is not None:
        program.metadata[GIVEN] = given_words(ctx, only=COMPILING)
    note_cost(program, progress)
    progress.close()
    return program


def _newest() -> Path:
    """Find the `.ipu` file of the current folder that was written last."""
    found = [path for path in Path().glob(f"*{SUFFIX}") if path.is_file()]
    if not found:
        models = sorted(str(path) for path in Path().glob("*.onnx"))
        model = shell_word(models[0]) if models else "MODEL.onnx"
        raise OptionError(
            "there is no program (.ipu) in this folder",
            where=str(Path.cwd()),
            fix=f"compile a model first: ipuc compile {model}",
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _warn_if_changed(program: Program, path: Path) -> None:
    """Say if the model has changed since it was compiled; nothing if it is gone."""
    model, recorded = program.metadata.get("path"), program.metadata.get("sha256")
    if not isinstance(model, str) or not isinstance(recorded, str) or not Path(model).is_file():
        return
    if not is_current(Path(model), recorded):
        warn(
            f"{model} has changed since {path} was compiled; "
            f"to use it: ipuc compile {shell_word(model)}"
        )
