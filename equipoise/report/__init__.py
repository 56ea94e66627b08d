"""Reports: figures, film and HTML page of a run, computed from its run folder alone."""
