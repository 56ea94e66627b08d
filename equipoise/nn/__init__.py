"""Building blocks of networks: layers, initialisation, augmentation, sampling. Nothing depends on a training method."""
