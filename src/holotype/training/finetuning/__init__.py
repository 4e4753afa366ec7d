"""Gradient training of a network, stage by stage."""
