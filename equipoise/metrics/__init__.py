"""One metric per file: features, statistics, value. A new file is a new metric."""
