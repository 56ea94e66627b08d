"""Measure samples against reals."""
