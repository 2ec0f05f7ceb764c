"""Scripts: programs of plain diffusers calls that make the same pixels as a recipe."""
