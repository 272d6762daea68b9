"""An engine without models: coloured pictures that depend on what the real ones depend on, in no time and no torch.

For tests of everything above the engine, extensions' tests above all: `calls` lists what was asked of it. The same
prompt, seed and plan give the same picture to the byte; any change of them gives another.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from easel.engine.engine import DenoisePlan, Engine, ModelFacts, ModelSpec
from easel.errors import BadRequest, EaselError, UnknownName
from easel.models.cache import ModelCache
from easel.values.receipt import UsedWeights
from easel.values.step import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easel.values.job import Job

T = TypeVar("T")
SIDE = 8  # pixels per latent
FACTS = ModelFacts(title="fake.safetensors [0123456789]", name="fake", short_hash="0123456789", family="SD1")
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bilinear-antialiased": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "bicubic-antialiased": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "nearest-exact": Image.Resampling.NEAREST,
}


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One call of the engine: the method's name, the job's id, and the other arguments by name."""

    method: str
    job: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FakeTexts:
    """Texts "encoded" as they are."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    extra_infotext: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FakeLatents:
    """One (h, w, 3) float picture in 0…1 per picture, a cell standing for 8 x 8 pixels."""

    pictures: tuple[NDArray[np.float64], ...]
    starts: tuple[NDArray[np.float64], ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(eq=False)
class FakeEngine(Engine):
    """`models` are the checkpoints it says it has; each step of a pass takes `step_seconds`."""

    models: tuple[ModelFacts, ...] = (FACTS,)
    step_seconds: float = 0.0
    calls: list[EngineCall] = field(default_factory=list)
    closed: bool = False
    _computing: threading.RLock = field(default_factory=threading.RLock)
    _models: ModelCache = field(default_factory=ModelCache)

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        """The model of that title, name or hash; the first for an empty name. Errors: UnknownName."""
        self._note("facts", job, model=model)
        for facts in self.models:
            if model.checkpoint in ("", facts.title, facts.name, facts.short_hash, facts.title.partition(" [")[0]):
                return facts
        raise UnknownName.among("sd_model_checkpoint", model.checkpoint, [facts.title for facts in self.models])

    def encode_prompts(
        self,
        job: Job,
        model: ModelSpec,
        positive: Sequence[str],
        negative: Sequence[str],
        *,
        steps: int,
        width: int,
        height: int,
        hires: bool = False,
        first_pass_steps: int = 0,
    ) -> FakeTexts:
        """Keep the texts."""
        self._note(
            "encode_prompts",
            job,
            model=model,
            positive=tuple(positive),
            negative=tuple(negative),
            steps=steps,
            width=width,
            height=height,
            hires=hires,
            first_pass_steps=first_pass_steps,
        )
        return FakeTexts(tuple(positive), tuple(negative))

    def encode_pictures(self, job: Job, model: ModelSpec, pictures: Sequence[NDArray[np.uint8]]) -> FakeLatents:
        """Each cell is the mean of its pixels."""
        self._note("encode_pictures", job, model=model, pictures=tuple(pictures))
        return FakeLatents(tuple(_shrunk(picture) for picture in pictures))

    def resize_latents(self, job: Job, latents: FakeLatents, mode: str, width: int, height: int) -> FakeLatents:
        """Interpolate, each channel as a picture; errors: BadRequest (mode)."""
        self._note("resize_latents", job, mode=mode, width=width, height=height)
        if mode not in FILTERS:
            raise BadRequest("unknown latent upscale mode", field="mode", value=mode, allowed=", ".join(FILTERS))
        size = (width // SIDE, height // SIDE)
        return FakeLatents(tuple(_resized(picture, size, FILTERS[mode]) for picture in latents.pictures))

    def crop_latents(self, job: Job, latents: FakeLatents, left: int, top: int, right: int, bottom: int) -> FakeLatents:
        """Cut columns and rows off the sides."""
        self._note("crop_latents", job, left=left, top=top, right=right, bottom=bottom)
        return FakeLatents(tuple(one[top : len(one) - bottom, left : one.shape[1] - right] for one in latents.pictures))

    def denoise(self, job: Job, model: ModelSpec, plan: DenoisePlan) -> FakeLatents:
        """Go from the start to the pictures in `plan.steps` steps, as far as the job lets it."""
        self._note("denoise", job, model=model, plan=plan)
        ends = [_picture(model, plan, index) for index in range(len(plan.pictures))]
        starts = _starts(plan)
        mixed = FakeLatents(tuple(starts))
        for index in range(plan.steps):
            if self.step_seconds:
                time.sleep(self.step_seconds)
                job.charge("denoise", self.step_seconds)
            job.raise_if_cancelled()
            if job.stopping:
                break
            share = (index + 1) / plan.steps * (1.0 if plan.init is None else plan.denoising_strength)
            mixed = FakeLatents(
                tuple(_blended(plan, a, (1 - share) * a + share * b) for a, b in zip(starts, ends, strict=True))
            )
            plan.on_step(_as_step(index, plan, mixed))
        return FakeLatents(mixed.pictures, tuple(starts))

    def distances(self, job: Job, latents: FakeLatents) -> list[NDArray[np.float32]]:
        """How far each cell's colour is from the one it had."""
        self._note("distances", job)
        pairs = zip(latents.pictures, latents.starts, strict=True)
        return [np.linalg.norm(a - b, axis=-1).astype(np.float32) for a, b in pairs]

    def decode(self, job: Job, model: ModelSpec, latents: FakeLatents) -> list[NDArray[np.uint8]]:
        """Every cell becomes 8 x 8 pixels of its colour."""
        self._note("decode", job, model=model)
        job.raise_if_cancelled()
        return [_to_bytes(picture).repeat(SIDE, axis=0).repeat(SIDE, axis=1) for picture in latents.pictures]

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` here, one at a time as a real engine does; charged to the job."""
        self._note("compute", job)
        job.raise_if_cancelled()
        with job.apart(), self._computing, job.charged("compute"):
            return fn()

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """Really loads it, once."""
        found: T = self._models.get(("extension", key), lambda: load("cpu"), size)
        return found

    def load(self, job: Job, model: ModelSpec) -> None:
        """Look it up."""
        self.facts(job, model)
        self._note("load", job, model=model)

    def unload(self, job: Job) -> None:
        """Forget extensions' models; there are no others."""
        self._note("unload", job)
        self._models.drop()

    def used(self, job: Job) -> tuple[UsedWeights, ...]:
        """It has no files; of extensions' models the names."""
        return tuple(UsedWeights(kind=kind, name=name, sha256="") for kind, name in sorted(job.used))

    def machine(self) -> Mapping[str, Any]:
        """None to speak of."""
        return {"device": "none"}

    def spent(self) -> Mapping[str, float]:
        """It has no thread of its own, and nothing to tell."""
        return {}

    def memory(self) -> Mapping[str, Any]:
        """As on a machine without a GPU."""
        return {"error": "unavailable"}

    def close(self) -> None:
        """Refuse further calls."""
        self.closed = True

    def called(self, method: str) -> list[EngineCall]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]

    def _note(self, method: str, job: Job, **arguments: Any) -> None:
        if self.closed:
            raise EaselError("the engine is closed")
        self.calls.append(EngineCall(method, job.id, arguments))


def _picture(model: ModelSpec, plan: DenoisePlan, index: int) -> NDArray[np.float64]:
    """Soft colours that everything a picture depends on decides."""
    noise, request, texts = plan.pictures[index], plan.request, plan.texts
    if not isinstance(texts, FakeTexts):
        raise TypeError("these texts were encoded by another engine")
    steering = plan.conditioning
    controls = [(one.model, one.weight, one.start, one.end, one.hint.sum()) for one in steering.controls]
    references = [(replace(one, picture=one.picture.sum()), one.picture.sum()) for one in steering.references]
    holds = [(one.weight, one.radius, one.softened, one.picture.sum()) for one in steering.holds]
    said = (texts.positive[index], texts.negative[index], noise, model, plan.sampler, plan.scheduler, plan.steps)
    options = (request.cfg_scale, request.subseed_strength, request.eta, plan.refiner, plan.fill)
    shown = (controls, references, holds)
    digest = hashlib.sha256(repr((said, options, shown)).encode()).digest()
    coarse = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big"))).random((4, 4, 3))
    return _resized(coarse, (plan.width // SIDE, plan.height // SIDE), Image.Resampling.BICUBIC)


def _starts(plan: DenoisePlan) -> list[NDArray[np.float64]]:
    if plan.init is None:
        return [np.full((plan.height // SIDE, plan.width // SIDE, 3), 0.5) for _ in plan.pictures]
    return [plan.init.pictures[index % len(plan.init)] for index in range(len(plan.pictures))]


def _blended(plan: DenoisePlan, start: NDArray[np.float64], picture: NDArray[np.float64]) -> NDArray[np.float64]:
    if plan.conditioning.mask is None or plan.init is None:
        return picture
    repaint = plan.conditioning.mask.mask[..., None].astype(np.float64)
    return start * (1 - repaint) + picture * repaint


def _as_step(index: int, plan: DenoisePlan, latents: FakeLatents) -> Step:
    def preview(kind: str) -> list[NDArray[np.uint8]]:
        if kind not in ("cheap", "full"):
            raise BadRequest("unknown kind of preview", field="preview", value=kind, allowed="cheap, full")
        return [_to_bytes(picture) for picture in latents.pictures]

    return Step(index=index, total=plan.steps, stage=plan.conditioning.stage, preview=preview)


def _to_bytes(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def _shrunk(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = picture.shape[0] // SIDE, picture.shape[1] // SIDE
    cells = picture[: height * SIDE, : width * SIDE].reshape(height, SIDE, width, SIDE, 3)
    means: NDArray[np.float64] = cells.mean(axis=(1, 3)) / 255
    return means


def _resized(picture: NDArray[np.float64], size: tuple[int, int], how: Image.Resampling) -> NDArray[np.float64]:
    channels = [Image.fromarray(picture[..., n].astype(np.float32)).resize(size, how) for n in range(3)]
    return np.stack([np.asarray(channel, dtype=np.float64) for channel in channels], axis=-1)
