"""Pages for people on a server: try a classifier, look at runs and data, promote versions."""
