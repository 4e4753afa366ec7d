"""What a recipe may say, and how it is resolved."""
