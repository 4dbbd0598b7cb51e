"""A mask's connected pieces, and their forms in files: run lengths and outlines."""
