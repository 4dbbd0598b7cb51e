"""Segmenters that learn from pairs: methods, trials, tables."""
