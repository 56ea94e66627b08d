"""Metrics, one per file: features, statistics and value. A new file defines a new metric."""
