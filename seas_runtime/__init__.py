"""Generation of image-mask pairs from a bundle, without PyTorch."""

from seas_runtime import telemetry

telemetry.switch_off()
