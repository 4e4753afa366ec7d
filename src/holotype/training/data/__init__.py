"""Augmented, seeded batches of images."""
