"""A sweep: models, data sets, recipes and seeds, each with each."""
