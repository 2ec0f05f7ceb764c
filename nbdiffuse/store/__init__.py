"""Store: finished images on disk, what they were made from, and how two of them differ."""
