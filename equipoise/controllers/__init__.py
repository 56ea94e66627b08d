"""Controllers, one per file, loaded by file name. A controller reads observations and changes knobs."""
