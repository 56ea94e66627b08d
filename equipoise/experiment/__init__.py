"""From the settings of an experiment to a run."""
