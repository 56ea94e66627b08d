"""Data sets, one per file: shape, range, classes and licence. A new file defines a new data set.

Private packages hold what data sets share: files and their cache, images, labels, windows, translation.
"""
