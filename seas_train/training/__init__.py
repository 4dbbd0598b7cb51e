"""What all trainings share: the loop, checkpoints, devices, batches, TensorBoard."""
