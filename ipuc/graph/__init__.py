"""The op-level graph: ONNX operators on values of known type and static shape."""
