"""Specimens: the slices of one against known ones, and a stack with the answers along it."""
