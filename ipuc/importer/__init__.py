"""The front: an ONNX file in, an op graph with static types out."""
