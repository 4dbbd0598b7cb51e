"""The autoencoder that comes along: it has learned drawn images, and learns photographs from there in a tenth of the steps.

`benchmarks/make_codec.py` makes the file. It fits the geometry `demo` alone.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seas_runtime.errors import DataError

FILE = Path(__file__).with_name("codec.safetensors")
LICENCE = "Apache-2.0, learned from images that this project draws"


def load(network: AutoencoderKL, file: Path = FILE) -> None:
    """Give an autoencoder of the geometry `demo` the weights of the file, stored in half precision.

    Raises:
        DataError: the file cannot be read or is of another network.
    """
    try:
        weights = {name: tensor.float() for name, tensor in load_file(file).items()}
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            f"{file}: found no autoencoder of the geometry demo ({str(error).splitlines()[0]}); install again, or begin with "
            "--vae-start random"
        ) from error


def save(network: AutoencoderKL, file: Path) -> None:
    """Store an autoencoder's weights as `load` reads them."""
    save_file({name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}, file)
