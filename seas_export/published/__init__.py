"""Checkpoints of the published SeaS implementation."""
