"""Get data sets: synthetic ones, those of Python packages, archives, downloads and Kaggle."""
