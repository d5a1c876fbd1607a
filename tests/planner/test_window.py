"""Parts of a sliding window against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipuc.planner.window import Slide, slide_parts
from ipuc.program.split import bounds


@st.composite
def slides(draw: st.DrawFn) -> Slide:
    """A random sliding window, padding beyond the kernel included."""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return Slide(
        draw(st.integers(1, 20)),
        draw(st.integers(1, 20)),
        kernel,
        stride,
        draw(st.integers(1, 3)),
        draw(st.integers(-3, 12)),
    )


@given(slide=slides(), parts=st.integers(1, 20), grain=st.sampled_from([1, 1, 2]))
@settings(max_examples=300, deadline=None)
def test_every_part_sees_its_window(slide: Slide, parts: int, grain: int) -> None:
    """Outputs are covered once; a part's input is what lies between its first and last tap."""
    assume(parts <= slide.out)
    edges = bounds(slide.out, parts, grain)
    covered = np.zeros(slide.out, int)
    numbers: list[int] = []
    for group in slide_parts(slide, parts, grain):
        numbers += group.index.tolist()
        for part, out_begin, in_begin in zip(
            group.index, group.out_begin, group.in_begin, strict=True
        ):
            assert (out_begin, group.out_size) == (edges[part], edges[part + 1] - edges[part])
            covered[out_begin : out_begin + group.out_size] += 1
            outputs = np.arange(out_begin, out_begin + group.out_size)
            first = outputs[0] * slide.stride - slide.pad
            last = outputs[-1] * slide.stride - slide.pad + (slide.kernel - 1) * slide.dilation
            reach = np.arange(first, last + 1)
            real = reach[(reach >= 0) & (reach < slide.field)]
            assert group.in_size == len(real)
            assert sum(group.pads) + group.in_size == len(reach)
            if len(real):
                assert in_begin == real[0]
                assert group.pads[0] == (reach < 0).sum()
            assert 0 <= in_begin <= in_begin + group.in_size <= slide.field
            assert group.in_size <= slide.reach(group.out_size)
    assert (covered == 1).all()
    assert len(set(numbers)) == len(numbers)
