"""Logs of other programs, from the bytes of a file to a `TrainingLog` for each game."""
