"""All edges of a small scene at once, for tests."""

import numpy as np

from ipuc.render.scene import Scene


def edges_of(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Ends of all edges of a small scene."""
    blocks = list(scene.edge_blocks())
    return np.concatenate([v for v, _ in blocks]), np.concatenate([r for _, r in blocks])
