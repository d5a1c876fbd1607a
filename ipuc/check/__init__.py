"""Hold a program against somebody else's engine, layer by layer."""

from ipuc.check.verify import LayerReport, Mismatch, Report, verify_model

__all__ = ["LayerReport", "Mismatch", "Report", "verify_model"]
