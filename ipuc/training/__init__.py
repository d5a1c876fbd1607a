"""From a model to the graph that trains it: loss, gradients, optimizer."""
