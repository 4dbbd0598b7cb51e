"""What is known of a base before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Inspected:
    """What the method takes for granted, as a model's configs state it.

    Attributes:
        channels: of the U-Net, in and out.
        latent_channels: of the VAE.
        prediction: what the U-Net gives, "epsilon" or "v_prediction".
        tokens: of the tokenizer.
        rows: of the text encoder's table.
        image_size: side of the images, pixels.
        widths: channels of the U-Net's levels.
        prompt: tokens of a prompt and their width.
        scaling: factor of the VAE's latents.
        betas: first and last beta, and how they rise.
        zero_snr: whether the last timestep is noise alone.
        notes: what will be done about something odd.
    """

    channels: tuple[int, int]
    latent_channels: int
    prediction: str
    tokens: int
    rows: int
    image_size: int
    widths: tuple[int, ...]
    prompt: tuple[int, int]
    scaling: float
    betas: tuple[float, float, str]
    zero_snr: bool = False
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same for a person, a line for each."""
        first, last, how = self.betas
        side, predicted = self.image_size // 8, "v" if self.prediction == "v_prediction" else "noise"
        said = {
            "images": f"{self.image_size} x {self.image_size} pixels",
            "latents": f"{self.latent_channels} channels of {side} x {side}, scaling {self.scaling:g}",
            "U-Net": f"{', '.join(map(str, self.widths))} channels, predicts {predicted}",
            "noise": f"betas {first:g} to {last:g}, {how}{', zero terminal SNR' if self.zero_snr else ''}",
            "prompts": f"{self.prompt[0]} tokens of width {self.prompt[1]}",
            "tokenizer": f"{self.tokens} tokens, {self.rows} rows in the text encoder",
        }
        return [f"{name:<12}{text}" for name, text in said.items()] + [f"{'note':<12}{note}" for note in self.notes]
