"""Several classifiers as one; what each is worth is decided on validation."""
