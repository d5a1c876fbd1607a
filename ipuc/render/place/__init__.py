"""Geometry: from a scene to positions in a disc."""

from ipuc.render.place.forces import Parameters, parameters_for
from ipuc.render.place.layout import DISC, Layout, layout_of_arrays, load_layout, place, save_layout

__all__ = [
    "DISC",
    "Layout",
    "Parameters",
    "layout_of_arrays",
    "load_layout",
    "parameters_for",
    "place",
    "save_layout",
]
