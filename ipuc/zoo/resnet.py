"""ResNet-34 as published, with batch norm and projection shortcuts."""

from __future__ import annotations

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft

#: Channels and number of blocks of each stage of a 34-layer net. Source: arXiv 1512.03385, table 1.
STAGES_34 = ((64, 3), (128, 4), (256, 6), (512, 3))
STAGES_18 = ((64, 2), (128, 2), (256, 2), (512, 2))


def resnet34(batch: int | None) -> Draft:
    """Build ResNet-34; 21.8 M parameters, 3.6 G multiply-adds.

    A block that changes the shape has a 1x1 convolution of stride 2 as its shortcut (option B).

    Source: He et al. 2015, arXiv 1512.03385.
    """
    net = Net("resnet34", (3, 224, 224), batch)
    x = net.conv("conv1", "input", 64, 7, stride=2, pad=3, bias=False)
    x = net.max_pool("maxpool", net.relu("relu1", net.batch_norm("bn1", x)), 3, 2, 1)
    for stage, (width, blocks) in enumerate(STAGES_34, start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _block(net, f"layer{stage}.{block}", x, width, stride)
    x = net.flatten("flatten", net.global_average_pool("avgpool", x))
    x = net.dense("fc", x, 1000)
    return net.finish(x, image="imagenet", source="He et al. 2015, arXiv 1512.03385")


def _block(net: Net, name: str, x: str, width: int, stride: int) -> str:
    """Add two 3x3 convolutions and the shortcut round them."""
    y = net.conv(f"{name}.conv1", x, width, 3, stride=stride, pad=1, bias=False)
    y = net.relu(f"{name}.relu1", net.batch_norm(f"{name}.bn1", y))
    y = net.conv(f"{name}.conv2", y, width, 3, pad=1, bias=False)
    y = net.batch_norm(f"{name}.bn2", y)
    if stride > 1:
        x = net.conv(f"{name}.downsample.conv", x, width, 1, stride=stride, bias=False)
        x = net.batch_norm(f"{name}.downsample.bn", x)
    return net.relu(f"{name}.relu2", net.add(f"{name}.add", y, x))
