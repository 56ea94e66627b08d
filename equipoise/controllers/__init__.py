"""One policy a file: what it sees and what it turns. A file dropped in is a controller."""
