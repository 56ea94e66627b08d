"""Data sets, one per file: shape, range, classes and licence. A new file defines a new data set; private ones are shared."""
