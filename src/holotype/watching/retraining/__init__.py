"""Retrain: a successor of the champion from new labels, and whether it may take its place"""
