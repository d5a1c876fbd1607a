"""The residual nets of the 2017 pictures: no batch norm, shortcuts without weights.

Source of all: the image benchmarks in PopLibs' public history, November 2016 to January 2017.
They differ from He et al. 2015: four input channels, biases everywhere, a max pool at the end,
and ReLU even after the last layer.
"""

from __future__ import annotations

from collections.abc import Callable

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft
from ipuc.zoo.resnet import STAGES_18, STAGES_34

_Block = Callable[[Net, str, str, int, int], str]


def resnet18_2017(batch: int | None) -> Draft:
    """Build the 18-layer net: two blocks in each stage."""
    return _resnet("resnet18_2017", _basic, batch, STAGES_18)


def resnet34_2017(batch: int | None) -> Draft:
    """Build the 34-layer net: two 3x3 convolutions a block, stride 2 in the first of a stage."""
    return _resnet("resnet34_2017", _basic, batch)


def resnet50_2017(batch: int | None) -> Draft:
    """Build the 50-layer net: bottlenecks of 1x1, 3x3, 1x1; the first 1x1 of a stage strides."""
    return _resnet("resnet50_2017", _bottleneck, batch)


def _resnet(
    name: str,
    block: _Block,
    batch: int | None,
    stages: tuple[tuple[int, int], ...] = STAGES_34,
) -> Draft:
    """Put stem, stages (width and number of blocks of each) and classifier together."""
    net = Net(name, (4, 224, 224), batch)
    x = net.relu("relu1", net.conv("conv1", "input", 64, 7, stride=2, pad=3))
    x = net.max_pool("maxpool1", x, 3, 2, 1)
    for stage, (width, blocks) in enumerate(stages, start=1):
        for index in range(blocks):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(net, f"layer{stage}.{index}", x, width, stride)
    x = net.flatten("flatten", net.max_pool("maxpool2", x, 7, 7))
    x = net.softmax("softmax", net.relu("relu2", net.dense("fc", x, 1000)))
    return net.finish(x, image="imagenet4", source="PopLibs' image benchmarks of 2017")


def _basic(net: Net, name: str, x: str, width: int, stride: int) -> str:
    y = net.relu(f"{name}.relu1", net.conv(f"{name}.conv1", x, width, 3, stride=stride, pad=1))
    y = net.conv(f"{name}.conv2", y, width, 3, pad=1)
    return net.relu(f"{name}.relu2", net.add(f"{name}.add", y, _shortcut(net, name, x, y, stride)))


def _bottleneck(net: Net, name: str, x: str, width: int, stride: int) -> str:
    y = net.relu(f"{name}.relu1", net.conv(f"{name}.conv1", x, width, 1, stride=stride))
    y = net.relu(f"{name}.relu2", net.conv(f"{name}.conv2", y, width, 3, pad=1))
    y = net.conv(f"{name}.conv3", y, 4 * width, 1)
    return net.relu(f"{name}.relu3", net.add(f"{name}.add", y, _shortcut(net, name, x, y, stride)))


def _shortcut(net: Net, name: str, x: str, y: str, stride: int) -> str:
    """Bring x to the shape of y: subsample, then append zero channels (option A of He et al.)."""
    if stride > 1:
        x = net.subsample(f"{name}.shortcut.subsample", x, stride)
    if net.shapes[x] != net.shapes[y]:
        x = net.pad_channels(f"{name}.shortcut.pad", x, net.shapes[y][0])
    return x
