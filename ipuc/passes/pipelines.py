"""Which passes run for what."""

from __future__ import annotations

from ipuc.graph.ir import Graph
from ipuc.passes.define import GraphPass
from ipuc.passes.drop_identity import DropIdentity
from ipuc.passes.fold_batch_norm import FoldBatchNorm
from ipuc.passes.manager import PassRecord, run_passes
from ipuc.passes.narrow_float64 import NarrowFloat64
from ipuc.passes.remove_dead import RemoveDead


def inference_passes() -> tuple[GraphPass, ...]:
    """Passes that make a graph ready to be compiled for inference, in order."""
    # Dead nodes first: a reader that nobody needs would keep a convolution from being folded.
    return (
        RemoveDead(),
        NarrowFloat64(),
        DropIdentity(),
        FoldBatchNorm(),
    )


def prepare_inference(graph: Graph) -> tuple[Graph, list[PassRecord]]:
    """Run the inference passes until nothing changes.

    Returns:
        The new graph, and a record of every run of a pass.
    """
    return run_passes(graph, inference_passes())


def prepare_training(graph: Graph) -> Graph:
    """Run the passes that keep a graph differentiable: nothing is folded."""
    return run_passes(graph, (RemoveDead(), NarrowFloat64(), DropIdentity()))[0]


def tidy(graph: Graph) -> Graph:
    """Remove what nobody reads and what does nothing from a graph that is ready otherwise."""
    return run_passes(graph, (RemoveDead(), DropIdentity()))[0]
