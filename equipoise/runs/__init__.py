"""The run folder: the only code that reads and writes its format, including formats of earlier versions."""
