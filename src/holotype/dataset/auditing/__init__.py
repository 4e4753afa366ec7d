"""Audit a data set: broken images, duplicates, leakage, label errors, outliers, image quality."""
