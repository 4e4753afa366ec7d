"""What is wrong with a data set: broken files, label errors, outliers."""
