"""The smallest trainings that have every stage, as words of `seas-train`."""

COUNTS = ("--normals", 3, "--per-defect", 2, "--test-normals", 1, "--size", 64)
OFTEN = ("--checkpoint-every", 1, "--log-every", 1)
ONE = ("--anomaly-batch", 1, "--normal-batch", 1)
BASE = ("--vae-steps", 1, "--vae-batch", 1, "--vae-crop", 32, "--batch", 1, "--steps", 2, "--align-steps", 1, "--sharpen-steps", 1)
TUNE = ("--preset", "tiny", "--steps", 2, "--normal-count", 1, *ONE, *OFTEN)
MASKS = ("--steps", 2, "--up2-width", 8, "--up3-width", 8, "--layers", 1, "--heads", 2, "--groups", 4, *ONE, *OFTEN)
