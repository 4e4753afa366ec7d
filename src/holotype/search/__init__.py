"""Many runs: a search over recipes, and a sweep over models, data sets, recipes and seeds."""
