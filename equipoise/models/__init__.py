"""Models, one per file: options, networks, knobs, presets and phases. To add a model, add a file to this folder."""
