"""Where pairs lose: segmenters that differ in one thing they learn from."""
