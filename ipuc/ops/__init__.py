"""ONNX operators: one file each."""
