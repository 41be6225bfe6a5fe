"""Core 2: turn noise into a clean sample, a little at a time."""
