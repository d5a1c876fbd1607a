"""Greater."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Greater(BinaryElementwise):
    """Whether A > B; with broadcasting. Source: ONNX Greater-13."""

    name: ClassVar[str] = "Greater"
    kind: ClassVar[str] = "gt"
