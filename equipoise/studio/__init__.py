"""The studio: a local web page that shows run folders and steers runs, for nothing but the run folders themselves."""
