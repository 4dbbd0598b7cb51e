"""Data sets on disk: layouts, tensors, and the procedural demo products."""
