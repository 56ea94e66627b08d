"""Training: the only code that changes weights. The step, the loop, averaging, checkpoints and rollbacks."""
