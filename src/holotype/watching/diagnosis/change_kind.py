"""Which kind of change it is: input, label shift or novelty.

Shape suffixes: N images of the window, R of the reference, C classes, P principal components.
"""
