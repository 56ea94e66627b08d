"""Controllers against each other, fairly: a plan, its runs, what they come to, and the page that says so."""
