"""Building blocks of networks, independent of the training method: layers, initialisation, augmentation, sampling."""
