"""The networks: Stable Diffusion components, decoder taps, the mask head."""
