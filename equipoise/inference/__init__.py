"""Use a trained generator: load, sample, translate, export."""
