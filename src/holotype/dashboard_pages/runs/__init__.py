"""Runs: the table, one run, training that goes on, leaderboards, searches and sweeps."""
