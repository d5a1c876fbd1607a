"""How large a program is, in Poplar's words and in those of the pictures."""

from __future__ import annotations

from dataclasses import dataclass

from ipuc.program.enumerate import VertexGraph
from ipuc.program.messages import count_messages
from ipuc.program.program import Program


@dataclass(frozen=True, slots=True)
class Counts:
    """Poplar's count: everything exists once, however often a function is called.

    Attributes:
        vertices: compute vertices.
        edges: one for each vector field, or for each entry of a list field, of each vertex.
        messages: source intervals that the exchange brings together; copies are not counted.
        variables: variables.
        compute_sets: compute sets; a sweep's counts as one.
    """

    vertices: int
    edges: int
    messages: int
    variables: int
    compute_sets: int


@dataclass(frozen=True, slots=True)
class GraphCounts:
    """The vertex graph of the pictures.

    Attributes:
        nodes: compute vertices and elementary regions.
        vertices: compute vertices.
        regions: elementary regions.
        edges: distinct (vertex, region) pairs.
    """

    nodes: int
    vertices: int
    regions: int
    edges: int


def count_program(program: Program) -> Counts:
    """Count a program as Poplar does.

    Raises:
        ProgramError: a variable is not mapped.
    """
    families = list(program.families())
    return Counts(
        vertices=sum(family.count for family in families),
        edges=sum(family.edges() for family in families),
        messages=count_messages(program),
        variables=len(program.variables),
        compute_sets=len(program.compute_sets()),
    )


def count_graph(program: Program) -> GraphCounts:
    """Count the vertex graph, exactly and without listing it.

    Raises:
        ProgramError: a window leaves its variable.
    """
    graph = VertexGraph(program)
    return GraphCounts(graph.nodes, graph.vertices, graph.regions, graph.edges())
