"""Read 3-D images (volumes) and cut them into slices, with the specimen as their group."""
