"""ipuc: compile an ONNX model for the Graphcore IPU, run it on an emulated chip, draw it."""

__version__ = "0.1.0"
