"""Controllers, one per file: what each observes and which knobs it changes. Every file here is found by name."""
