"""Monitoring and control of any training loop: a pure step, and an adapter that applies it to torch optimizers."""
