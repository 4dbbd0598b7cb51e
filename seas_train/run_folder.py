"""The run folder: everything a training leaves behind, safetensors and JSON only.

RUN/run.json               `Facts`: product, prompts, settings, split, provenance, finished stages; of a student, what it is for
RUN/unet vae text_encoder tokenizer scheduler    diffusers' layout; the text encoder is the base's, unchanged
RUN/tokens.safetensors     `rows` (tokens, D): the learned token rows
RUN/normals.safetensors    `mean`, `std` (P, C, h, w): scaled latent posterior of the normal images
RUN/photographs/           000.png and so on: the same normal images, RGB, of the model's side
RUN/anomalies/TYPE/        000.png, 000_mask.png and so on: the training anomalies of each type, of that side
RUN/decoder/               config.json and model.safetensors of the small decoder, where the mask branch reads one
RUN/rmp/                   config.json and model.safetensors of the mask branch, once trained
RUN/source.json            where the images lay on this machine, for the next command
RUN/log.jsonl              a line per logged step
RUN/tensorboard/           scalars and sample grids, where they were asked for
RUN/checkpoint/            state of an unfinished stage
RUN/unfinished.json        which command an unfinished folder belongs to
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from seas_runtime import voice
from seas_runtime.bundle.manifest import Place
from seas_runtime.bundle.student import Student
from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import require_plain, write_atomic
from seas_runtime.fit import Fit, Size
from seas_runtime.staging import replaced
from seas_train import prompts
from seas_train.config import IN_GRAPHS, MaskSettings, TuneSettings
from seas_train.data.dataset import load_image, load_mask, to_bytes
from seas_train.data.images import png
from seas_train.distill.settings import DistillSettings
from seas_train.models import components, small_decoder
from seas_train.models.components import Components
from seas_train.models.rmp import RefinedMaskPredictor, RmpConfig
from seas_train.models.small_decoder import DecoderConfig
from seas_train.prompts import Prompts

PHOTOGRAPHS = "photographs"
ANOMALIES = "anomalies"
Anomaly = tuple[Tensor, Tensor]
"""An image (3, H, W) in [-1, 1] and its mask (1, H, W) of 0 and 1."""


class Calibration(BaseModel):
    """What the training anomalies of a type say of its masks.

    Attributes:
        threshold: Of the mean probability.
        agreement: Least IoU of the masks of the last steps.
        min_area: Least share of the image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(gt=0, lt=1)]
    agreement: Annotated[float, Field(ge=0, le=1)]
    min_area: Annotated[float, Field(ge=0, le=1)]


class Facts(BaseModel):
    """What `run.json` holds.

    `normals` are files; of the images that were made of them by `fit`, `places` says where each lies. `photograph` is the size
    (width, height) that most photographs have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    product: str
    prompts: Prompts
    tune: TuneSettings
    masks: MaskSettings | None = None
    distill: DistillSettings | None = None
    calibration: dict[str, Calibration] = {}
    provenance: dict[str, Any]
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    normals: tuple[str, ...]
    fit: Fit = "stretch"
    photograph: Size | None = None
    places: tuple[Place, ...] = ()

    @property
    def defects(self) -> tuple[str, ...]:
        """Defect types, sorted."""
        return tuple(self.prompts.anomaly)

    @property
    def small_decoder(self) -> bool:
        """Whether pictures and masks are made with a small decoder."""
        return self.masks is not None and self.masks.decoder == "small"

    @property
    def student(self) -> Student | None:
        """What the U-Net was distilled for; None of one that was fine-tuned alone."""
        return self.distill.student if self.distill is not None else None


@dataclass
class Run:
    """A fine-tuned model in memory: networks frozen, the token rows attached to the text encoder.

    `decoder` tells of the small decoder in the VAE's own one's place.
    """

    folder: Path
    facts: Facts
    model: Components
    normal_mean: Tensor
    normal_std: Tensor
    rmp: RefinedMaskPredictor | None = None
    decoder: DecoderConfig | None = None

    @property
    def look(self) -> int | None:
        """The timestep at which the mask branch sees the finished latent; None where it sees those of the last steps."""
        masks = self.facts.masks
        return masks.look_timestep if masks is not None and masks.look == "final" else None

    @torch.no_grad()
    def prompt(self, defects: Sequence[str | None]) -> Tensor:
        """Embeddings (n, L, D) of the prompts of defect types; None is the normal prompt."""
        texts = self.facts.prompts
        return self.embed([texts.normal if defect is None else texts.anomaly[defect] for defect in defects])

    @torch.no_grad()
    def embed(self, texts: list[str]) -> Tensor:
        """Prompt embeddings (n, L, D) float32; the empty string is the guidance's empty prompt."""
        return prompts.embed(self.model.tokenizer, self.model.text_encoder, texts)


def save_tuned(
    folder: Path,
    facts: Facts,
    model: Components,
    rows: Tensor,
    normals: tuple[Tensor, Tensor],
    photographs: Iterable[Tensor] = (),
    anomalies: Mapping[str, Sequence[Anomaly]] | None = None,
) -> None:
    """Write a fine-tuned model; `run.json` comes last, so that a half-written run is never taken for whole.

    `model.text_encoder` must still be the base's (the rows are kept apart). `normals` are moments (P, C, h, w), `photographs` the
    images (3, H, W) in [-1, 1] that they are of, `anomalies` the training anomalies by type.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder)
        _save(folder / "tokens.safetensors", {"rows": rows})
        _save(folder / "normals.safetensors", {"mean": normals[0], "std": normals[1]})
        with replaced(folder / PHOTOGRAPHS) as fresh:
            for index, photograph in enumerate(photographs):
                (fresh / f"{index:03}.png").write_bytes(_picture(photograph))
        with replaced(folder / ANOMALIES) as fresh:
            for defect, pairs in (anomalies or {}).items():
                (fresh / defect).mkdir()
                for index, (image, mask) in enumerate(pairs):
                    (fresh / defect / f"{index:03}.png").write_bytes(_picture(image))
                    (fresh / defect / f"{index:03}_mask.png").write_bytes(png(Image.fromarray(mask[0].byte().numpy() * 255)))
        write_atomic(folder / "run.json", facts.model_dump_json(indent=2) + "\n")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write the run folder {folder}: {error}; free space and run again") from error


def save_masks(folder: Path, facts: Facts, rmp: RefinedMaskPredictor) -> None:
    """Add the trained mask branch to a run folder.

    Raises:
        OutputError: as `save_tuned`.
    """
    try:
        # First: a branch that is there is the one it speaks of.
        write_atomic(folder / "run.json", facts.model_dump_json(indent=2) + "\n")
        with replaced(folder / "rmp") as fresh:
            _save(fresh / "model.safetensors", rmp.state_dict())
            (fresh / "config.json").write_text(rmp.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write the run folder {folder}: {error}; free space and run again") from error


def load(folder: Path, own_decoder: bool = False) -> Run:
    """Read a run folder, with the small decoder for the VAE's own one where its masks are made with that.

    Args:
        folder: of the run.
        own_decoder: whether to leave the VAE as it was tuned, for what is trained anew.

    Raises:
        DataError: it is missing, was never tuned, is half-written, or a file in it cannot be read.
    """
    facts = load_facts(folder)
    components.inspect(folder, added=len(facts.prompts.tokens))
    with voice.doing(f"reading {folder}"):
        model = components.load(folder)
    try:
        rows = load_file(folder / "tokens.safetensors")["rows"]
        normals = load_file(folder / "normals.safetensors")
        mean, std = normals["mean"], normals["std"]
        rmp = _load_rmp(folder / "rmp") if (folder / "rmp" / "config.json").exists() else None
        prompts.attach_rows(model.text_encoder, rows)
        decoder = None if own_decoder or not facts.small_decoder else small_decoder.read_config(folder)
        if decoder is not None:
            small_decoder.attach(model.vae, small_decoder.load(folder))
    except Exception as error:  # sizes and tensors that do not fit raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{folder}: cannot be read ({reason}); make the run again with `seas-train tune`") from error
    components.freeze(*model.networks.values())
    return Run(folder, facts, model, mean, std, rmp, decoder)


def load_facts(folder: Path) -> Facts:
    """Read `run.json` alone.

    Raises:
        DataError: it is missing or not of this format.
    """
    path = folder / "run.json"
    if not path.is_file():
        found = "a folder without run.json" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder}: found {found}; expected a run folder made by `seas-train tune`")
    require_plain(folder)
    try:
        return Facts.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else error
        raise DataError(f"{path}: not a run of format 1 ({reason}); make it again with this version") from error


def require_photographs(run: Run) -> list[Path]:
    """Files of the normal images, in the order of their latents.

    Raises:
        DataError: one is missing, as they are in a run of an earlier version.
    """
    files = [run.folder / PHOTOGRAPHS / f"{index:03}.png" for index in range(len(run.normal_mean))]
    if missing := [file for file in files if not file.is_file()]:
        raise DataError(f"{missing[0]}: no such photograph of a normal image; tune the run again, or export it without photographs")
    return files


def pictures(run: Run) -> tuple[list[Tensor], dict[str, list[Anomaly]]]:
    """Normal images (3, H, W) in [-1, 1] and the training anomalies of each type, as far as the run has them.

    Raises:
        DataError: one cannot be read.
    """
    side = run.model.image_size
    normals = [load_image(file, side) for file in sorted((run.folder / PHOTOGRAPHS).glob("*.png"))]
    anomalies = {}
    for defect in run.facts.defects:
        masks = sorted((run.folder / ANOMALIES / defect).glob("*_mask.png"))
        images = [mask.with_name(f"{mask.stem.removesuffix('_mask')}.png") for mask in masks]
        if masks:
            anomalies[defect] = [(load_image(i, side), load_mask(m, side)) for i, m in zip(images, masks, strict=True)]
    return normals, anomalies


def require_pictures(run: Run) -> tuple[list[Tensor], dict[str, list[Anomaly]]]:
    """As `pictures`, all of them.

    Raises:
        DataError: some are missing, as they are in a run of an earlier version, or cannot be read.
    """
    require_photographs(run)
    normals, anomalies = pictures(run)
    if missing := [defect for defect in run.facts.defects if defect not in anomalies]:
        folder = run.folder / ANOMALIES / missing[0]
        raise DataError(f"{folder}: found no training anomalies; tune the run again, or export it without composites")
    return normals, anomalies


def require_masks(run: Run) -> RefinedMaskPredictor:
    """The mask branch of a run.

    Raises:
        DataError: it was not trained.
    """
    if run.rmp is None:
        raise DataError(f"{run.folder}: has no mask branch; train it with `seas-train masks {run.folder}`")
    return run.rmp


def require_graphs(run: Run) -> RefinedMaskPredictor:
    """The mask branch of a run that a bundle's graphs can hold: taps up-2 and up-3, the VAE decoder's three features.

    Raises:
        DataError: it was not trained, or is an ablation that reads other tensors or none of the features.
    """
    rmp = require_masks(run)
    config = rmp.config
    other = [f"{name} {getattr(config, name)!r}, not {fit!r}" for name, fit in IN_GRAPHS.items() if getattr(config, name) != fit]
    if other:
        raise DataError(
            f"{run.folder}: its mask branch is an ablation ({'; '.join(other)}) and cannot be exported; use `seas-train sample`, "
            "or train the branch again without these settings"
        )
    return rmp


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Not by the library's own way to a file, which leaves `.tmp` and six letters behind when it is killed."""
    write_atomic(path, save({name: value.detach().contiguous().clone() for name, value in tensors.items()}))


def _picture(image: Tensor) -> bytes:
    return png(Image.fromarray(to_bytes(image).permute(1, 2, 0).numpy()))


def _load_rmp(folder: Path) -> RefinedMaskPredictor:
    config = RmpConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    rmp = RefinedMaskPredictor(config)
    rmp.load_state_dict(load_file(folder / "model.safetensors"))
    components.freeze(rmp)
    return rmp
