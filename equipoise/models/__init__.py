"""One model per file: its paper, networks, knobs, presets and phases. A new file in this folder is a new model."""
