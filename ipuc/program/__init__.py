"""The tile program: variables on tiles, vertex families, compute sets and steps."""
