"""Runs as they are compared: read, measured, and searched with."""
