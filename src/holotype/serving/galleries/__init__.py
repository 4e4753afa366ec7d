"""A gallery of individuals behind HTTP: who is this, and add who was confirmed."""
