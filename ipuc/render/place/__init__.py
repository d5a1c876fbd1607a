"""Geometry: from a scene to positions in a disc."""

from ipuc.render.place.forces import Parameters
from ipuc.render.place.layout import DISC, Layout, load_layout, place, save_layout

__all__ = ["DISC", "Layout", "Parameters", "load_layout", "place", "save_layout"]
