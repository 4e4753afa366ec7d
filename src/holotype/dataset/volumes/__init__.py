"""3-D stacks become slices that remember their specimen."""
