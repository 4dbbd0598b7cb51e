"""Data sets of image-mask pairs: what comes in from annotation tools and goes out to other ones."""
