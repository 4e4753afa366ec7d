"""Embeddings in which images of one individual are close: losses, batches and validation."""
