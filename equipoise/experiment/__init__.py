"""Experiments: reading settings from TOML, JSON or flags, building objects from them, and starting runs."""
