"""What the embedded checkpoints can do, on scenes that no training saw; for making the weights only, never used at run time."""
