"""The schema of `manifest.json`: what a bundle says of itself, format 1."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, JsonValue, model_validator

from seas_runtime.bundle.graphs import SAMPLED, Graph, GraphName, MaskSource, check_tensors
from seas_runtime.bundle.schema import CorePath, DefectName, FolderName, Interval, Model, Offset, Size, Sparse
from seas_runtime.bundle.student import Student

FORMAT = 1
CONDITIONING = "conditioning.safetensors"
MAX_COMPOSITES = 10_000  # of a type
MAX_ANOMALIES = 3  # of a composite
COMPOSITE_ANOMALIES = 2.0  # in the mean, where nobody says otherwise: segmenters learn more than from one
WEIGHTS = "weights.bin"


class Defect(Sparse):
    """One defect type and the prompt whose embedding the conditioning holds.

    What the training anomalies taught of its masks, where that was asked for: the threshold of the mean probability, the least IoU
    of the masks of the last steps, and the least area as a share of the image.
    """

    _later: ClassVar[frozenset[str]] = frozenset({"threshold", "agreement", "min_area"})

    name: DefectName
    prompt: str
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    min_area: Annotated[float, Field(ge=0, le=1)] | None = None


class Geometry(Model):
    """Sides of the square images and latents, channels, and the prompt's tokens and width."""

    image_size: Size
    latent_channels: Size
    latent_size: Size
    prompt_length: Size
    prompt_width: Size

    @property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Of the graphs' tensors by name, as far as they follow; "n" is the batch."""
        latent = ("n", self.latent_channels, self.latent_size, self.latent_size)
        return {
            "sample": latent,
            "latent": latent,
            "noise": latent,
            "timestep": ("n",),
            "prompt": ("n", self.prompt_length, self.prompt_width),
            "image": ("n", 3, self.image_size, self.image_size),
            "probability": ("n", 1, self.image_size, self.image_size),
        }


class Schedule(Sparse):
    """The noise schedule of training and how the solver samples it; names are those of diffusers.

    `prediction`: what the U-Net's output `noise` holds, v = alpha * noise - sigma * x0 where it says so (Salimans & Ho 2022).
    `zero_snr`: alpha-bar was rescaled so that its last is 0 (Lin et al. 2024). `solver`: "consistency" for a student of `Student`,
    whose every step ends in a clean latent that is noised again; None for DPM-Solver++ (2M).
    """

    _later: ClassVar[frozenset[str]] = frozenset({"prediction", "zero_snr", "solver"})

    beta_start: Annotated[float, Field(gt=0, lt=1)]
    beta_end: Annotated[float, Field(gt=0, lt=1)]
    beta_schedule: Literal["scaled_linear", "linear"]
    train_steps: Annotated[int, Field(ge=2, le=100_000)]
    spacing: Literal["linspace", "trailing"]
    final: Literal["zero", "published"]
    solver: Literal["dpmpp_2m", "consistency"] | None = None

    @property
    def consistency(self) -> bool:
        """Whether it is sampled by a student of consistency distillation."""
        return self.solver == "consistency"

    prediction: Literal["epsilon", "v_prediction"] | None = None  # None: epsilon, as in every bundle before there was another
    zero_snr: Literal[True] | None = None

    @model_validator(mode="after")
    def _knows_the_image(self) -> Self:
        if self.zero_snr and self.prediction != "v_prediction":
            raise ValueError("zero_snr without v_prediction found: where there is no signal, the noise says nothing of the image")
        return self


class Start(Model):
    """start latent = signal * z + noise * eps, z the scaled latent of a normal image, eps ~ N(0, 1)."""

    signal: Annotated[FiniteFloat, Field(ge=0)]
    noise: Annotated[FiniteFloat, Field(gt=0)]


class Defaults(Sparse):
    """Sampling settings where the command line says nothing.

    guidance_interval: the part of the schedule that is guided, see `sampling.solver.guided_steps`; None for all of it.
    """

    _later: ClassVar[frozenset[str]] = frozenset({"guidance_interval"})

    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[FiniteFloat, Field(ge=1, le=100)]
    threshold: Annotated[float, Field(gt=0, lt=1)]
    mask_steps: Annotated[int, Field(ge=1)]
    guidance_interval: Interval | None = None


class HalfPrecision(Model):
    """Where the fp16 graphs stay in fp32, and why.

    A module stays in fp32 if a tensor it reads or makes was larger than 65504 / `headroom` in the runs measured at export, or if
    it makes sines and cosines of timesteps; `largest` has the largest magnitude in each graph, these angles left out. A graph whose
    fp16 form was not faithful has none among its files, and computes in fp32.
    """

    headroom: Annotated[FiniteFloat, Field(ge=1)]
    fp32_modules: tuple[str, ...]
    largest: dict[GraphName, float]


class FileEntry(Model):
    """Size in bytes and hash of a core file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Fitting(Model):
    """How photographs were fitted to the square image (see `seas_runtime.fit`), and the size (width, height) that most had."""

    fit: Literal["stretch", "pad", "crop", "tile"]
    photograph: tuple[Size, Size]


class Place(Model):
    """Where a normal image lies on its photograph.

    `file`, as training or the import before it called it; its upright size (width, height); `box` of the image on it: left, top,
    width and height in pixels, which may reach beyond the photograph.
    """

    file: Annotated[str, Field(min_length=1, max_length=4096)]
    size: tuple[Size, Size]
    box: tuple[Offset, Offset, Size, Size]


class Facts(Sparse):
    """What a manifest says before there are graphs.

    `fitting` and `places` (in the conditioning's order) say how pictures come from photographs. `photographs` are
    files of the normal images (PNG, RGB, of the geometry's side), in the conditioning's order, where they are there;
    `composites` is how many the conditioning has of each type, see `Conditioning`, and `composite_anomalies` how many
    anomalies are on one in the mean (one where nothing is said); `patches` are files of what they change of the
    photographs (PNG, RGBA), type by type, where both are there. `mask_source`: "final" for one look at the
    finished latent, taps from a conditional U-Net call at `mask_timestep`; None for the last steps' latents.
    """

    _later: ClassVar[frozenset[str]] = frozenset(
        {
            "photographs",
            "fitting",
            "places",
            "composites",
            "composite_anomalies",
            "patches",
            "mask_source",
            "mask_timestep",
            "student",
        }
    )

    product: FolderName
    defects: Annotated[tuple[Defect, ...], Field(min_length=1)]
    normal_prompt: str
    geometry: Geometry
    schedule: Schedule
    start: Start
    defaults: Defaults
    provenance: dict[str, JsonValue]
    photographs: tuple[CorePath, ...] | None = None
    composites: Annotated[int, Field(ge=1, le=MAX_COMPOSITES)] | None = None
    composite_anomalies: Annotated[float, Field(ge=1, le=MAX_ANOMALIES)] | None = None
    patches: tuple[CorePath, ...] | None = None
    fitting: Fitting | None = None
    places: tuple[Place, ...] | None = None
    mask_source: MaskSource | None = None
    mask_timestep: Annotated[int, Field(ge=0)] | None = None
    student: Student | None = None

    @property
    def pictures(self) -> tuple[str, ...]:
        """Files of photographs and patches."""
        return (*(self.photographs or ()), *(self.patches or ()))

    @property
    def look(self) -> int | None:
        """The timestep of the one look at the finished latent; None where masks are those of the last steps."""
        return self.mask_timestep if self.mask_source == "final" else None

    @property
    def sampled(self) -> tuple[GraphName, ...]:
        """The graphs that the sampler runs."""
        return SAMPLED[self.mask_source or "steps"]

    @property
    def defect_names(self) -> tuple[str, ...]:
        """Names of the defect types, in the bundle's order."""
        return tuple(defect.name for defect in self.defects)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        folded = [name.casefold() for name in self.defect_names]
        if len(set(folded)) != len(folded):
            raise ValueError("two defect types share a name")
        if self.defaults.mask_steps > self.defaults.steps or self.defaults.steps >= self.schedule.train_steps:
            raise ValueError("defaults: mask_steps <= steps < train_steps does not hold")
        if self.schedule.beta_start > self.schedule.beta_end:
            raise ValueError("schedule: beta_start is above beta_end")
        if self.patches is not None and not (self.photographs and len(self.patches) == (self.composites or 0) * len(self.defects)):
            raise ValueError("patches: one of each composite of each type, and photographs, expected")
        if (self.mask_source == "final") != (self.mask_timestep is not None):
            raise ValueError("mask_timestep: a timestep with mask_source final, and only there, expected")
        if self.look is not None and not (self.look < self.schedule.train_steps and self.defaults.mask_steps == 1):
            raise ValueError("mask_source final: mask_timestep < train_steps and mask_steps 1 expected")
        if self.schedule.consistency != (self.student is not None and self.student.method == "consistency"):
            raise ValueError("student: one of method consistency with schedule.solver consistency, and only there, expected")
        if self.student is not None and self.defaults.guidance != self.student.guidance:
            raise ValueError("defaults.guidance: that of the student expected")
        if self.student is not None and self.student.runs and self.defaults.steps not in self.student.runs:
            raise ValueError(f"defaults.steps: one of {self.student.runs} expected, which the student knows")
        return self


class Manifest(Facts):
    """`manifest.json`, format 1. `files` has every core file except the manifest; see `digest.canonical_digest`."""

    format: Literal[1]
    graphs: dict[GraphName, Graph]
    half: HalfPrecision | None = None
    parity: dict[str, JsonValue]
    files: dict[CorePath, FileEntry]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := [name for name in self.sampled if name not in self.graphs]:
            raise ValueError(f"graphs: {', '.join(missing)} missing")
        named = {CONDITIONING, *self.pictures}.union(*(graph.files.values() for graph in self.graphs.values()))
        if unlisted := sorted(named - self.files.keys()):
            raise ValueError(f"files: {', '.join(unlisted)} not listed")
        check_tensors(self.graphs, self.geometry.shapes)
        return self
