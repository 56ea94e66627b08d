"""Meaning of the columns of a log: names, counters, games, and the choice among several columns."""
