"""How well individuals are found again: ranking, open set, discovery; intervals by identity"""
