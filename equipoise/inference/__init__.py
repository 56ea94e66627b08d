"""Inference with a trained generator: loading, sampling, latent space, translation, export."""
