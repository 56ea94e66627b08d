"""Images of every format, size and depth: which files are images, their range of values, and decoding."""
