"""Scores of predictions with their intervals, calibration and prediction sets; needs no torch."""
