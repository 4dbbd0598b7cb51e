"""The commands of `seas-quality`."""
