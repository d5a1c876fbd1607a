"""The machines that programs are compiled for."""

from ipuc.target.catalogue import CATALOGUE, MAX_IPUS, parse_target, several
from ipuc.target.define import Target

__all__ = ["CATALOGUE", "MAX_IPUS", "Target", "parse_target", "several"]
