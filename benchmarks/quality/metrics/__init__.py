"""Metrics of generated pairs and of segmenters."""
