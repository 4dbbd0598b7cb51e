"""SeaS training in PyTorch: base models, separation-and-sharing fine-tuning, refined mask prediction."""

from seas_runtime import telemetry

telemetry.switch_off()
