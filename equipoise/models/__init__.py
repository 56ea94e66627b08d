"""One GAN a file: its paper, its networks, its knobs, its presets, its phases. A file dropped in is a GAN."""
