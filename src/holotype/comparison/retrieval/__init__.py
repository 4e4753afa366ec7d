"""How well the embeddings of runs find images of the same class, and which run does it better."""
