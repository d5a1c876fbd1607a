"""Runs programs in NumPy. Knows programs and codelets, never operators: an independent witness."""
