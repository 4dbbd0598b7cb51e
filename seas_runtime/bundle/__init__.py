"""The bundle `NAME.plan`: reading with every check, its manifest, conditioning, and ONNX files as bytes."""
