"""Building blocks. Nothing here knows what a GAN is."""
