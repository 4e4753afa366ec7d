"""From a file to the array a network sees: decoding, pixels, preprocessing, the foreground."""
