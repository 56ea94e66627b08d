"""Monitor and control any training loop."""
