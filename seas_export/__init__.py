"""From a trained run folder to a bundle of ONNX graphs, with parity figures."""

from seas_runtime import telemetry

telemetry.switch_off()
