"""Plain diffusers programs that do what a recipe does."""
