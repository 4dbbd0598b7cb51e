"""SeaS training in PyTorch: base models, separation-and-sharing fine-tuning, refined mask prediction."""
