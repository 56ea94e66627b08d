"""Figures, film and HTML page of a run, made from its run folder alone."""
