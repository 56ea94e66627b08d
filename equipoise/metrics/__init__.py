"""One metric a file: features, statistics, value. A file dropped in is a metric."""
