"""The `.ipu` container: a program in one self-contained, versioned file.

It is a zip: `manifest.json` (what the file is), `program.json` (the program as JSON), `graph.json`
(the op graph), `tables.npy` and `table_begins.npy` (index tables and mappings, each once), and one
`constants/ID.npy` for each variable with contents. Loading one executes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipuc.errors import ContainerError, IpucError, ProgramError
from ipuc.program.archive import (
    MANIFEST,
    Archive,
    Array,
    Member,
    Progress,
    damaged,
    foreign,
    write,
)
from ipuc.program.checked import need
from ipuc.program.decode import Decoder
from ipuc.program.encode import Encoder
from ipuc.program.program import Program
from ipuc.program.verify import check_structure, verify
from ipuc.version import __version__

#: What the manifest calls the format, and the version written and read.
FORMAT, VERSION = "ipuc-program", 2

_PROGRAM, _GRAPH = "program.json", "graph.json"
_TABLES, _BEGINS = "tables.npy", "table_begins.npy"

#: Faults of the program inside a file, as the decoder and the record types meet them.
_UNSOUND = (ProgramError, KeyError, IndexError, TypeError, ValueError, OverflowError)


def save(program: Program, path: str | Path, *, progress: Progress | None = None) -> None:
    """Write a program, whole or not at all; the same program gives the same bytes.

    Args:
        program: what to write.
        path: where; an existing file is replaced at the very end.
        progress: called with (bytes done, bytes in all).

    Raises:
        ContainerError: the file cannot be written, or the program holds something that has no
            form in JSON.
    """
    encoder = Encoder(program)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "ipuc": __version__,
        "target": program.target.name,
        "counts": {
            "variables": len(program.variables),
            "constants": len(program.constants),
            "families": len(encoder.document["families"]),
            "vertices": sum(family.count for family in program.families()),
            "compute_sets": len(encoder.document["compute_sets"]),
            "layers": len(program.layers),
        },
    }
    members = [
        Member(MANIFEST, json.dumps(manifest, indent=1).encode(), packed=False),
        Member(_PROGRAM, _json(encoder.document), packed=True),
        Member(_GRAPH, program.graph_text.encode(), packed=True),
        Member(_TABLES, encoder.tables, packed=True),
        Member(_BEGINS, encoder.table_begins, packed=True),
    ]
    members += [
        Member(_constant(id_), values, packed=False)
        for id_, values in sorted(program.constants.items())
    ]
    write(Path(path), members, progress)


def load(
    path: str | Path, *, max_bytes: int = 4 << 30, check: bool = True, races: bool = True
) -> Program:
    """Read a program that `save` wrote.

    Args:
        path: the file.
        max_bytes: the most that the file may expand to; checked before memory is taken.
        check: hold it to Poplar's rules: a program may not run without.
        races: look for races too, vertex by vertex; what is only drawn does without.

    Raises:
        ContainerError: the file is something else, damaged, or of a newer version, or a codelet
            it names is not imported.
        TooLarge: it expands to more than `max_bytes`.
    """
    path = Path(path)
    with Archive(path, max_bytes) as archive:
        _manifest(archive)
        try:
            program = _read(archive, max_bytes)
            if check:
                (verify if races else check_structure)(program)
        except ContainerError as error:
            if error.where:
                raise
            raise damaged(path, error.what) from error
        except _UNSOUND as error:
            what = error.what if isinstance(error, IpucError) else repr(error)
            raise damaged(path, what) from error
    return program


def _read(archive: Archive, max_bytes: int) -> Program:
    tables, begins = archive.array(_TABLES), archive.array(_BEGINS)
    decoder = Decoder(_parse(archive, _PROGRAM), tables, begins, archive.path, max_bytes)
    variables = decoder.constants()
    members = [_constant(variable.id) for variable in variables]
    expected = {MANIFEST, _PROGRAM, _GRAPH, _TABLES, _BEGINS, *members}
    need(set(archive.names) == expected, "it holds other members than it names")
    constants: dict[int, Array] = {}
    for variable, member in zip(variables, members, strict=True):
        values = archive.array(member)
        fits = values.dtype == variable.dtype and values.size == variable.size
        need(fits, f'the contents of "{variable.name}" do not fit it')
        constants[variable.id] = values
    return decoder.program(constants, archive.text(_GRAPH))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read only what a program file says about itself: format, version, target and counts.

    Raises:
        ContainerError: the file is something else, damaged, or of a newer version.
    """
    with Archive(Path(path), 1 << 62) as archive:
        return _manifest(archive)


def _manifest(archive: Archive) -> dict[str, Any]:
    manifest = _parse(archive, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise foreign(archive.path)
    version = manifest.get("version")
    if version != VERSION:
        raise ContainerError(
            f"the program was written by ipuc {manifest.get('ipuc')} in version {version} of the "
            f"format; this is ipuc {__version__}, which reads version {VERSION}",
            where=str(archive.path),
            fix="install that ipuc, or compile the model again",
        )
    return manifest


def _parse(archive: Archive, name: str) -> Any:
    try:
        return json.loads(archive.text(name), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(archive.path, f"{name!r} is no JSON: {error}") from error


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _constant(id_: int) -> str:
    return f"constants/{id_}.npy"


__all__ = ["FORMAT", "VERSION", "load", "read_manifest", "save"]
