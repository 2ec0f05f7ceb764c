"""The store: finished images on disk, and what they were made from."""
