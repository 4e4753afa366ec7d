"""Frozen features, computed once and cached."""
