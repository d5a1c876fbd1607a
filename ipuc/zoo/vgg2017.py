"""VGG-11 as the benchmarks of 2017 had it."""

from __future__ import annotations

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft

#: Output channels of the 3x3 convolutions; a 2x2 max pool of stride 2 follows each stage.
_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg11_2017(batch: int | None) -> Draft:
    """Build VGG-11 with four input channels, ReLU even after the last layer, no dropout.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration A; input and end as in the
    image benchmarks in PopLibs' public history, November 2016 to January 2017.
    """
    net = Net("vgg11_2017", (4, 224, 224), batch)
    x, number = "input", 0
    for stage, widths in enumerate(_STAGES, start=1):
        for width in widths:
            number += 1
            x = net.relu(f"relu{number}", net.conv(f"conv{number}", x, width, 3, pad=1))
        x = net.max_pool(f"pool{stage}", x, 2, 2)
    x = net.flatten("flatten", x)
    for outputs in (4096, 4096, 1000):
        number += 1
        x = net.relu(f"relu{number}", net.dense(f"fc{number}", x, outputs))
    x = net.softmax("softmax", x)
    return net.finish(x, image="imagenet4", source="arXiv 1409.1556; PopLibs' benchmarks of 2017")
