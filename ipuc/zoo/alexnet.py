"""AlexNet: torchvision's layer sizes, and the variant of the 2017 pictures."""

from __future__ import annotations

from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft


def alexnet(batch: int | None) -> Draft:
    """Build AlexNet with torchvision's layer sizes; 61.1 M parameters, 0.71 G multiply-adds.

    torchvision's adaptive average pool to 6x6 is the identity on 224x224 images and is left
    out; its two Dropout nodes are kept.

    Source: Krizhevsky, "One weird trick", arXiv 1404.5997; sizes as in torchvision's alexnet.
    """
    net = Net("alexnet", (3, 224, 224), batch)
    x = net.flatten("flatten", _features(net))
    x = net.relu("relu6", net.dense("fc6", net.dropout("drop6", x), 4096))
    x = net.relu("relu7", net.dense("fc7", net.dropout("drop7", x), 4096))
    x = net.dense("fc8", x, 1000)
    return net.finish(x, image="imagenet", source="arXiv 1404.5997, torchvision's layer sizes")


def alexnet2017(batch: int | None) -> Draft:
    """Build the AlexNet of the 2017 pictures: four input channels, ReLU even after the last layer.

    Source: the image benchmarks in PopLibs' public history, November 2016 to January 2017.
    """
    net = Net("alexnet2017", (4, 224, 224), batch)
    x = net.flatten("flatten", _features(net))
    for name, outputs in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        x = net.relu(f"relu{name[-1]}", net.dense(name, x, outputs))
    x = net.softmax("softmax", x)
    return net.finish(x, image="imagenet4", source="PopLibs' image benchmarks of 2017")


def _features(net: Net) -> str:
    """Add the five convolutions and three pools; 224x224 pixels become 256 channels of 6x6."""
    x = net.relu("relu1", net.conv("conv1", "input", 64, 11, stride=4, pad=2))
    x = net.max_pool("pool1", x, 3, 2)
    x = net.relu("relu2", net.conv("conv2", x, 192, 5, pad=2))
    x = net.max_pool("pool2", x, 3, 2)
    x = net.relu("relu3", net.conv("conv3", x, 384, 3, pad=1))
    x = net.relu("relu4", net.conv("conv4", x, 256, 3, pad=1))
    x = net.relu("relu5", net.conv("conv5", x, 256, 3, pad=1))
    return net.max_pool("pool5", x, 3, 2)
