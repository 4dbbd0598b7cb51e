"""What the sampler computes outside the graphs: for the host in NumPy (reference), for the GPU in CUDA (loader)."""
