"""Output of a panel: the result beside its initial image, status lines, and what stays in a saved notebook."""
