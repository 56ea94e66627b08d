"""Splits and labels of files: by folders, by label files, and by columns of tables."""
