"""One data set per file: shape, range, classes, licence. A new file is a new data set."""
