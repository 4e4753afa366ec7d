"""A bundle in the formats of other programs, each proved on real images."""
