"""From a trained run folder to a bundle of ONNX graphs, with parity figures."""
