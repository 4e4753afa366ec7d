"""A gallery on disk: segments of embeddings, and what is known of each image."""
