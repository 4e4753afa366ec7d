"""Significance tests, scores and costs of several classifiers on the same images; no torch."""
