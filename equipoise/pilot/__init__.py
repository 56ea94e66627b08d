"""Monitoring and control of a training loop: a pure step function, and an adapter that applies it to optimizers."""
