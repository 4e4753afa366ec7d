"""Several classifiers as one bundle, with weights fitted on validation."""
