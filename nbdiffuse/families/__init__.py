"""What diffusers and a checkpoint's small files say of themselves: scheduler classes, names, settings."""
