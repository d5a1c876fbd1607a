"""From the op graph to the tile program."""
