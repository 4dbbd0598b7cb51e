"""TensorRT and TensorRT-RTX: building engines beside a bundle, and running them with the sampler's loop on the GPU."""
