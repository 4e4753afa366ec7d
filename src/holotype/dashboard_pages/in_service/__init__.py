"""In service: versions and who is the champion, promotion, traffic, comparisons, and watching."""
