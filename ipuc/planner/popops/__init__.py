"""Plans after PopLibs' popops: reductions."""
