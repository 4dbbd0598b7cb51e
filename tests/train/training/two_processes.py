"""A step of both trainings, and `seas-train tune`, as each of several processes under torchrun does them.

python -m tests.train.training.two_processes BASE DATA FOLDER
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seas_train import cli, masks, tune
from seas_train.data import layouts
from seas_train.models import components
from seas_train.training import loop
from tests.smallest import MASKS, TUNE


def step_of_both(base: str, data: Path, folder: Path, out: Path, anomalies: int, normals: int) -> None:
    """One step of tune and one of masks in fp64; the gradients that the optimiser is given go to `out`."""
    seen, whole, load = {}, loop.average_gradients, components.load

    def double(source):
        model = load(source)
        for network in model.networks.values():
            network.double()
        return model

    def keep(parameters, processes):
        whole(parameters, processes)
        stage = "masks" if seen else "tune"
        seen.update({f"{stage}/{i}": p.grad.clone() for i, p in enumerate(parameters)})

    branch = masks.RefinedMaskPredictor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "average_gradients", keep)
        patch.setattr(components, "load", double)
        patch.setattr(masks, "RefinedMaskPredictor", lambda config: branch(config).double())
        one = {"steps": 1, "anomaly_batch": anomalies, "normal_batch": normals, "device": "cpu"}
        product = layouts.read(data)
        tune.train(product, base, out.with_suffix(".run"), TUNE.model_copy(update=one), {})
        masks.train(folder, product, MASKS.model_copy(update=one))
    save_file(seen, out)


def tune_by_command(base: str, data: str, folder: Path, rank: int) -> None:
    """`seas-train tune` into `folder`/run; what this process has learned goes to a file of its own."""
    whole = loop.run

    def keep(stage):
        whole(stage)
        parts = {f"{name}.{k}": v for name, module in stage.modules.items() for k, v in module.state_dict().items()}
        save_file(parts, folder / f"learned{rank}.safetensors")

    words = ["tune", data, "--base", base, "--out", str(folder / "run"), "--device", "cpu", "--unet-lr", "1e-3"]
    words += ["--steps", "3", "--checkpoint-every", "2", "--log-every", "1", "--anomaly-batch", "1", "--normal-batch", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run", keep)
        cli.main(words, standalone_mode=False)


def main(base: str, data: str, folder: Path) -> None:
    """What this process learns goes to files that bear its rank."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    step_of_both(base, Path(data), folder / "tuned", folder / f"{rank}.safetensors", 1, 1)
    tune_by_command(base, data, folder, rank)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
