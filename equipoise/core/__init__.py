"""Types shared by all folders: no behaviour of a single plug, and no file access except in the catalog."""
