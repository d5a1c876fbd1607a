"""The planner of convolutions and matrix products, as Graphcore's poplin plans them."""
