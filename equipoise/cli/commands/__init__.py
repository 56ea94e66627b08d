"""What can be typed after `equipoise`: one command a file, with its arguments (`fill`) and what it does (`act`)."""
