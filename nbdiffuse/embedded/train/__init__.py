"""Training of the embedded checkpoints; for making the weights only, and nothing imports it at run time."""
