"""The machines that programs are compiled for."""

from ipuc.target.catalogue import CATALOGUE, parse_target
from ipuc.target.define import Target

__all__ = ["CATALOGUE", "Target", "parse_target"]
