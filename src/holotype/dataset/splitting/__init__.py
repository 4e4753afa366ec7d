"""Assign every image to train, validation and test, without leakage."""
