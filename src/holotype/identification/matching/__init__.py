"""Which individual an image is of: cosine and registration, as a calibrated probability."""
