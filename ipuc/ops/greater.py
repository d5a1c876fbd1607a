"""Greater."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Greater(BinaryElementwise):
    """Whether A > B; with broadcasting. Source: ONNX Greater-13."""

    name: ClassVar[str] = "Greater"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "gt"
