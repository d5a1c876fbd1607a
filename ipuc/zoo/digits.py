"""A LeNet for the 8x8 handwritten digits that scikit-learn ships."""

from __future__ import annotations

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft


def digits(batch: int | None) -> Draft:
    """Build two convolutions, two pools and two dense layers; 13,706 parameters, ten classes.

    LeNet-5's plan with 3x3 kernels, because an 8x8 image leaves no room for 5x5 ones.

    Source: the plan of LeCun et al. 1998, "Gradient-based learning applied to document
    recognition"; sizes are our own.
    """
    net = Net("digits", (1, 8, 8), batch)
    x = net.max_pool("pool1", net.relu("relu1", net.conv("conv1", "input", 16, 3, pad=1)), 2, 2)
    x = net.max_pool("pool2", net.relu("relu2", net.conv("conv2", x, 32, 3, pad=1)), 2, 2)
    x = net.relu("relu3", net.dense("fc3", net.flatten("flatten", x), 64))
    x = net.dense("fc4", x, 10)
    return net.finish(x, image="digits", source="LeNet-like, after LeCun et al. 1998")
