"""Learning: a training program run over a data set, with evaluation, checkpoints and a report."""
