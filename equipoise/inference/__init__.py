"""Using a trained generator: load, sample, latent space, translate, export."""
