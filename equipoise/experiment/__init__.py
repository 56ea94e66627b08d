"""Experiments: settings from TOML, JSON or flags, the objects built from them, and the run that they start."""
