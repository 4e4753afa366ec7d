"""One module per verb: each parses, calls one function, and prints."""
