"""What the embedded checkpoints can do, measured on scenes that no training saw."""
