"""The classifier that ships. No torch, no pickle, no HTTP."""
