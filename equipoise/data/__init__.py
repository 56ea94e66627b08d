"""One data set a file: shape, range, classes, licence. A file dropped in is a data set."""
