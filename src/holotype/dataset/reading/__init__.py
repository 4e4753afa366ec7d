"""Read folders and tables of labelled images into listings of sample records."""
