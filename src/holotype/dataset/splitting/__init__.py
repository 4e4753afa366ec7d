"""Every image is assigned to train, validation or test, without leakage."""
