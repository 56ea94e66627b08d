"""Parsing of lines, records and tables of text into numbers by name; the readers are built from it."""
