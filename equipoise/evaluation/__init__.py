"""Evaluation of samples: metrics relative to reals, and nearest neighbours in the training data."""
