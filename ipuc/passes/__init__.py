"""Graph passes: op graph to op graph, meaning kept."""
