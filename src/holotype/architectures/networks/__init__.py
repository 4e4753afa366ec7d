"""The networks that are trained from nothing."""
