"""Types that every folder shares; no behaviour of a single plug, no file access but the catalog's."""
