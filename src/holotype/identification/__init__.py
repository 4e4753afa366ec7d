"""Who is this? Individuals told apart by embeddings, and new ones recognised as new."""
