"""How good is it, and how sure are we? From predictions alone; no torch.

evaluate.py      predictions -> Report
scores.py        what a Report holds: every score with a 95 % interval
metrics.py       accuracy to Brier score, as pure functions
ranking.py       ROC curves, the areas under them, average precision
intervals.py     how sure a score is
calibration.py   what confidence is worth; the temperature that mends it
decision.py      what is fitted on validation and sealed into the bundle
caveats.py       what a reader must know before quoting a score
report.py        Report -> a page, the numbers behind it, plots
page.py, plots.py, lettering.py, exhibits.py   what the page is made of
"""
