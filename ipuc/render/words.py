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
    counts = (
        f"{scene.nodes:,} nodes = {scene.vertices:,} vertices + {scene.regions:,} regions",
        f"{scene.edges:,} edges",
    )
    return Words(scene.title, machine, counts, warning)
