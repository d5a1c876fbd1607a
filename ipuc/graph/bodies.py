"""Bodies of our own operators: ONNX functions, written in ONNX's text syntax."""

from __future__ import annotations

from functools import cache

import onnx
import onnx.parser

from ipuc.errors import InternalError

#: The domain of our own operators.
DOMAIN = "ai.ipuc"


@cache
def parse_body(text: str) -> onnx.FunctionProto:
    """Read a function in ONNX's text syntax.

    Args:
        text: header with domain and operator sets, signature, and standard ONNX nodes.

    Raises:
        InternalError: the text is no such function.
    """
    try:
        return onnx.parser.parse_function(text)
    except onnx.parser.ParseError as error:
        raise InternalError(f"the body of an operator cannot be read: {error}") from error
