"""Data sets of image-mask pairs: what is done with them beside generating."""
