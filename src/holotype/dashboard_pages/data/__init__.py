"""Images as a gallery: filters, confusion matrix, near-duplicates, review of labels."""
