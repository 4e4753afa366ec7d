"""What makes a bundle rather than reads one: descriptors, ensembles, parity."""
