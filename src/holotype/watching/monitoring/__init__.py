"""Has anything changed? Bets against it, whose chance of a false alarm is bounded over a year"""
