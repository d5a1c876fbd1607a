"""Vertex types: one file each, with fields, batched meaning and cycle formula."""
