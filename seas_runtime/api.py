"""The front door: a bundle opened in a backend, and the pairs that it makes.

    import seas_runtime

    with seas_runtime.open("engines/bottle.plan") as generator:
        for pair in generator.pairs(count=8, seed=0):
            use(pair.image, pair.mask, pair.defect)

`seas-gen` makes the same pairs of the same options, and comes through here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

from seas_runtime.backends import Backend, open_backend
from seas_runtime.backends.first_run import guard
from seas_runtime.backends.registry import BACKENDS, OF_CORE
from seas_runtime.bundle.photographs import read_patches, read_photographs
from seas_runtime.bundle.reader import Bundle, read_bundle
from seas_runtime.bundle.shipped import find
from seas_runtime.errors import SettingsError
from seas_runtime.options import Options
from seas_runtime.sampling.pairs import Pair
from seas_runtime.sampling.recipe import Plan, Sampling
from seas_runtime.sampling.sampler import Batches, Model, generate
from seas_runtime.settings import recipe, resolve

Log = Callable[[str], None]


def open(  # noqa: A001  # as its users write it: seas_runtime.open
    bundle: str | Path | Bundle,
    backend: str = "auto",
    *,
    threads: int = 0,
    expect: str | None = None,
    log: Log | None = None,
    explain: Log | None = None,
    first_run_limit: float = 0,
) -> Generator:
    """Open a bundle in a backend.

    Args:
        bundle: the folder NAME.plan, which is verified, or a bundle that has been read; bottle.plan is one that comes along.
        backend: what computes, as `--backend` of `seas-gen`; "auto" takes the fastest that works here.
        threads: CPU threads at most; 0 leaves it to the engine.
        expect: the digest that the bundle must have. "auto" then takes no backend that needs more than what it covers.
        log: called with a line on what "auto" took, and on pairs that had to be made in smaller batches.
        explain: called in place of `log` with what "auto" took and why.
        first_run_limit: seconds after which this process is ended if the first run of a graph is not over; 0 for never.

    Raises:
        BundleError: see `seas_runtime.bundle.reader.read_bundle`.
        BackendError: the backend cannot run here.
        SettingsError: no backend has this name, or threads below 0.
    """
    if threads < 0:
        raise SettingsError(f"threads {threads} found, at least 0 expected")
    read = bundle if isinstance(bundle, Bundle) else read_bundle(find(Path(bundle)), expect)
    candidates = tuple(BACKENDS) if expect is None else OF_CORE
    return Generator(read, guard(open_backend(backend, read, threads, candidates, explain or log), first_run_limit), log)


class Generator:
    """A bundle opened in a backend, see `open`. A context manager: leaving it stops what it makes and gives back what it holds.

    Args:
        bundle: a verified bundle.
        backend: it, opened.
        log: called with a line on pairs that had to be made in smaller batches.
    """

    def __init__(self, bundle: Bundle, backend: Backend, log: Log | None = None) -> None:
        self.bundle = bundle
        self._model: Model | None = Model(backend, bundle.conditioning, bundle.manifest.start)
        self._log = log or (lambda _line: None)
        self._begun: WeakSet[Batches] = WeakSet()

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop making pairs and let go of the backend; nothing can be made after that."""
        for batches in list(self._begun):
            batches.close()
        self._model = None

    @property
    def backend(self) -> Backend:
        """What computes."""
        return self._opened().backend

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defect types that it can make."""
        return self.bundle.manifest.defect_names

    def pairs(
        self,
        count: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        defects: str | Sequence[str] = (),
        batch: int = 4,
        steps: int | None = None,
        guidance: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        threshold: float | None = None,
        mask_steps: int | None = None,
        clean: int = 0,
        background: str | None = None,
        init: str | None = None,
        strength: float | None = None,
        mask: str | None = None,
        shape: str | None = None,
        min_area: int | None = None,
        min_agreement: float | None = None,
        max_area: float = 0.8,
        retries: int = 3,
        shard: tuple[int, int] = (0, 1),
    ) -> Pairs:
        """Pairs of images and masks, made as they are asked for.

        Pair i depends on (seed, i) alone, up to the rounding of the engine; with the same batch and on the same machine, to the
        bit. The types take turns. Where None is given, the bundle says.

        Args:
            count: how many; None for as many as are asked for.
            seed: 0 to 2**64 - 1.
            start: the first pair's index.
            defects: types to make, all of the bundle's if empty.
            batch: pairs made together.
            steps: of the solver.
            guidance: weight of the defect's prompt; 1 is none and twice as fast.
            guidance_interval: least and greatest noise level that is guided, as shares of the schedule: (0, 1) is all of it.
            threshold: mask probability above which a pixel is anomalous.
            mask_steps: last steps whose masks are averaged.
            clean: pieces of a mask, and holes in it, of fewer pixels are removed and filled.
            background: "real" for pictures that are, outside their masks, the photographs they started from; None: "real" with
                composites of photographs, else "generated".
            init: "composite" to start from normal images with a training anomaly placed on them; None: that where the bundle
                holds any, else "normal", as in the paper.
            strength: how much noise a photograph or composite starts with, as a share of the schedule; None: 1 and 0.4.
            mask: "branch" or "composite" for whose mask a pair from a composite has; None: the composite's, of the placed anomaly.
            shape: "network" for its squares, "photograph" for the proportions of the photographs that were fitted to it.
            min_area: a mask of fewer pixels is made again.
            min_agreement: a pair whose last steps' masks have a smaller IoU is made again.
            max_area: a mask above this share of the image is made again.
            retries: more attempts, 3 at most, at a pair whose mask is refused; then it is left out, see `Pairs.refused`.
            shard: (k, n) for the batches with number mod n = k alone.

        Raises:
            SettingsError: an option out of its range, or that does not fit the bundle.
        """
        options = Options(
            count=count,
            defects=(defects,) if isinstance(defects, str) else tuple(defects),
            seed=seed,
            batch=batch,
            steps=steps,
            guidance=guidance,
            guidance_interval=guidance_interval,
            threshold=threshold,
            mask_steps=mask_steps,
            clean=clean,
            background=background,
            init=init,
            strength=strength,
            mask=mask,
            shape=shape,
            min_area=min_area,
            min_agreement=min_agreement,
            max_area=max_area,
            retries=retries,
            shard=shard,
        )
        return Pairs(self.batches(*self.recipe(options, start)))

    def normals(
        self,
        count: int,
        *,
        seed: int = 0,
        batch: int = 4,
        steps: int | None = None,
        guidance: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        background: str | None = None,
        strength: float | None = None,
        shape: str | None = None,
    ) -> Pairs:
        """Normal images, from the normal prompt, with empty masks: what `seas-gen --normals` writes.

        Normal image i depends on (seed, i) alone. The arguments are those of `pairs`; with a real background, a normal image is its
        photograph but for a patch that is joined with it as an anomaly is.

        Raises:
            SettingsError: as `pairs`.
        """
        options = Options(
            normals=count,
            seed=seed,
            batch=batch,
            steps=steps,
            guidance=guidance,
            guidance_interval=guidance_interval,
            background=background,
            strength=strength,
            shape=shape,
        )
        settings = resolve(self.bundle.manifest, self.backend.name, options)
        return Pairs(self.batches(settings.normal_plan(), settings.sampling(self.bundle.manifest)))

    def recipe(self, options: Options, start: int = 0) -> tuple[Plan, Sampling]:
        """Which pairs `options` ask for, and how to make them; with neither count there is no end.

        Raises:
            SettingsError: see `pairs`.
        """
        self._opened()
        return recipe(self.bundle.manifest, options, start)

    def batches(self, plan: Plan, sampling: Sampling, chosen: Iterable[tuple[int, ...]] | None = None) -> Batches:
        """The batches of a plan, or those chosen of them, with the pairs that the gate refused; see `sampler.generate`.

        Raises:
            BundleError: backgrounds are to be kept and the bundle's photographs cannot be read.
        """
        model = self._opened()
        if sampling.keeps_background and model.photographs is None:
            pictures = read_photographs(self.bundle)
            self._model = model = replace(model, photographs=pictures, patches=read_patches(self.bundle))
        batches = generate(model, plan, sampling, chosen, self._log)
        self._begun.add(batches)
        return batches

    def _opened(self) -> Model:
        if self._model is None:
            raise ValueError(f"{self.bundle.path}: closed, so nothing can be made with it; open it again")
        return self._model


class Pairs(Iterator[Pair]):
    """Pairs in the order of their indices. A context manager: leaving it stops what is on its way.

    Attributes:
        refused: index -> verdict of the pairs so far that the gate refused in all attempts; they are left out.
    """

    def __init__(self, batches: Batches) -> None:
        self.refused: dict[int, str] = {}
        self._batches = batches
        self._ready: deque[Pair] = deque()

    def __next__(self) -> Pair:
        while not self._ready:
            for pair in next(self._batches):
                if pair.good:
                    self._ready.append(pair)
                else:
                    self.refused[pair.index] = pair.verdict
        return self._ready.popleft()

    def __enter__(self) -> Pairs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop; there are no more pairs after that."""
        self._ready.clear()
        self._batches.close()
