"""Training, the only code that changes weights: step, loop, averaging, checkpoints and rollbacks."""
