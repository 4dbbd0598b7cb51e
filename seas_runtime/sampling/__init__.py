"""From start latents to image-mask pairs: the solver, its recipe, random streams, masks. Pure: no files."""
