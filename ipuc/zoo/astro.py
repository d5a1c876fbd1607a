"""A small net that looks for gravitational waves in a time series."""

from __future__ import annotations

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft


def astro(batch: int | None) -> Draft:
    """Build the detector: one second of strain at 8192 Hz in, two class probabilities out.

    The series is one-dimensional, so convolutions and pools are too.

    Source: George and Huerta, "Deep neural networks to enable real-time multimessenger
    astrophysics", arXiv 1701.00008; pads of the first pool as in the 2017 pictures.
    """
    net = Net("astro", (1, 8192), batch)
    x = net.relu("relu1", net.conv("conv1", "input", 16, 16))
    x = net.max_pool("pool1", x, 4, 4, 2)
    x = net.relu("relu2", net.conv("conv2", x, 32, 8))
    x = net.max_pool("pool2", x, 4, 4)
    x = net.relu("relu3", net.conv("conv3", x, 64, 8))
    x = net.flatten("flatten", net.max_pool("pool3", x, 4, 4))
    x = net.relu("relu4", net.dense("fc4", x, 64))
    x = net.softmax("softmax", net.dense("fc5", x, 2))
    return net.finish(x, source="George and Huerta 2016, arXiv 1701.00008")
