"""A small base model from scratch and offline: autoencoder, text encoder, U-Net, a sharper decoder."""
