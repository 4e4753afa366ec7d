"""Copies of one image, found and verified."""
