"""The verbs: the one place where rooms meet, in the order of the pipeline."""
