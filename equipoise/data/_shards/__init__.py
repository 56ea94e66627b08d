"""Images that are read from shards while a model trains: an index of all of them, their order, and reading."""
