"""What a caption says."""

from __future__ import annotations

from dataclasses import dataclass

from ipuc.render.scene import Scene


@dataclass(frozen=True, slots=True)
class Words:
    """The caption of a picture.

    Attributes:
        model: its name.
        machine: target and granularity.
        counts: nodes, vertices, regions and edges.
        warning: that it does not fit, for instance; empty if all is well.
    """

    model: str
    machine: str
    counts: tuple[str, ...]
    warning: str = ""

    def lines(self) -> list[tuple[str, bool]]:
        """Lines, and which of them are bold."""
        head = ", ".join(text for text in (self.model, self.machine) if text)
        words = [(head, True), ("; ".join(self.counts), False), (self.warning, True)]
        return [(text, bold) for text, bold in words if text]


def words_of(scene: Scene, warning: str = "") -> Words:
    """Say what a scene shows."""
    names = ("ipuc.target", "ipuc.granularity")
    target, granularity = (scene.provenance.get(name, "") for name in names)
    cut = f"granularity {granularity}" if granularity else ""
    machine = ", ".join(word for word in (target, cut) if word)
    of = counts_of(scene)
    counts = [
        f"{of['nodes']:,} nodes = {of['vertices']:,} vertices + {of['regions']:,} regions",
        f"{of['edges']:,} edges",
    ]
    if scene.stands is not None:
        counts.append(f"preview: {sample_words(scene)}")
    return Words(scene.title, machine, tuple(counts), warning)


def counts_of(scene: Scene) -> dict[str, int]:
    """Nodes, vertices, regions and edges of the program, also where the scene is a sample."""
    names = ("nodes", "vertices", "regions", "edges")
    return {name: int(scene.provenance.get(f"ipuc.{name}", getattr(scene, name))) for name in names}


def sample_words(scene: Scene) -> str:
    """Say how large a sample is."""
    return f"a sample of {scene.nodes:,} nodes, {scene.edges:,} edges"
