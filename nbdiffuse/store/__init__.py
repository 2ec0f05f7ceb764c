"""Store: finished images on disk, where they came from, and how two of them differ."""
