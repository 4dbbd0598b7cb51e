"""Generation of image-mask pairs from a bundle, without PyTorch."""
