"""A suite of many small training tasks, on which one setting of a controller is measured for all data at once."""
