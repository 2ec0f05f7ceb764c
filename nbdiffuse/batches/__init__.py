"""Batches: the pictures of a folder, an archive or a table, each redrawn into a folder, in any number."""
