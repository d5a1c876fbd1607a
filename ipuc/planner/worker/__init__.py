"""Granularity `worker`: layers become vertices by PopLibs' rules of the winter 2016/17."""
