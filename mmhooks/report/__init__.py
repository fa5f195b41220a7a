"""Reports: plots, timelines of hooks, and HTML pages that need nothing but themselves."""
