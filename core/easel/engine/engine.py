"""What a pipeline asks of an engine. Two implementations: `ticks.TickEngine` (torch) and `fake_engine.FakeEngine`.

Calls come from job threads and block until the engine's own thread has done the work. Latents and encoded texts are
opaque to the caller (`Latents`, `Texts`), so that nothing above the engine needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from easel.values.conditioning import Conditioning
    from easel.values.job import Job
    from easel.values.prompt import Adapter
    from easel.values.receipt import UsedWeights
    from easel.values.request import GenerationRequest
    from easel.values.step import Step

T = TypeVar("T")
Latents = Any  # one entry per picture of the batch; the engine's own representation


class Texts(Protocol):
    """The encoded texts of one pass; `extra_infotext` are pairs that the infotext gains by them ("TI hashes")."""

    @property
    def extra_infotext(self) -> tuple[tuple[str, str], ...]:
        """Keys and values, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which weights a call uses."""

    checkpoint: str  # title in the model store
    vae: str = "Automatic"  # Automatic, None or a name
    adapters: tuple[Adapter, ...] = ()
    tiling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the pipeline must know of a checkpoint before it can plan a pass."""

    title: str
    name: str
    short_hash: str  # first 10 hex of the sha256, "" with --no-hashing
    family: str  # "SD1", "SD2", "SDXL", …
    pixels_per_latent: int = 8  # sides of pictures are multiples of this
    native_size: tuple[int, int] = (512, 512)
    inpainting: bool = False  # takes mask and masked picture as extra input channels
    vae_name: str | None = None  # the separate VAE file in use
    vae_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureNoise:
    """Where the noise of one picture comes from."""

    seed: int
    subseed: int = 0
    fill_seed: int | None = None  # of masked content "latent noise"; None: `seed` (A1111 takes the first batch's)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoisePlan:
    """One pass over one batch.

    With `init` (latents of the start pictures) the pass is img2img at `denoising_strength`; `fill` is A1111's masked
    content (0 and 1: as is, 2 latent noise, 3 zeros). `exact_steps` (hires pass): all `steps` run whatever the
    strength. `masked_pictures` are the start pictures as they are; the engine takes `pixel_mask` out of them.
    Sampler options (eta, churn, ENSD, noise source …) are read from `request`.
    """

    request: GenerationRequest
    width: int  # pixels, a multiple of pixels_per_latent
    height: int
    pictures: tuple[PictureNoise, ...]
    texts: Texts
    conditioning: Conditioning
    sampler: str
    scheduler: str
    steps: int
    init: Latents | None = None
    denoising_strength: float = 1.0
    exact_steps: bool = False
    fill: int = 1
    masked_pictures: tuple[NDArray[np.uint8], ...] | None = None  # (H, W, 3), for inpainting checkpoints
    pixel_mask: NDArray[np.float32] | None = None  # (H, W) 0…1, for inpainting checkpoints
    refiner: ModelSpec | None = None
    refiner_texts: Texts | None = None
    refiner_switch_at: float = 1.0
    on_step: Callable[[Step], None] = field(default=lambda step: None)


class Engine(Protocol):
    """Encode, denoise, decode for many jobs at once."""

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        """Describe a checkpoint; errors: UnknownName, RefusedFile, ModelError."""
        ...

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
    ) -> Texts:
        """Parse, schedule and encode the texts of one pass; one positive and one negative text per picture.

        `steps` are the denoiser calls the schedules count on (doubled already for second-order samplers).
        Options (emphasis, CLIP skip, comma backtrack …) come from `job.request.options`.
        """
        ...

    def encode_pictures(self, job: Job, model: ModelSpec, pictures: Sequence[NDArray[np.uint8]]) -> Latents:
        """(H, W, 3) uint8 pictures → latents, one per picture; an array given several times is encoded once."""
        ...

    def resize_latents(self, job: Job, latents: Latents, mode: str, width: int, height: int) -> Latents:
        """Interpolate to a pixel size with one of A1111's latent upscale modes; returned latents fit width x height.

        `mode` is "bilinear", "bilinear-antialiased", "bicubic", "bicubic-antialiased", "nearest", "nearest-exact".
        """
        ...

    def crop_latents(self, job: Job, latents: Latents, left: int, top: int, right: int, bottom: int) -> Latents:
        """Cut columns and rows (latent units) off the sides."""
        ...

    def denoise(self, job: Job, model: ModelSpec, plan: DenoisePlan) -> Latents:
        """Run a pass to its end, or to the step at which the job was interrupted, skipped or cancelled."""
        ...

    def distances(self, job: Job, latents: Latents) -> list[NDArray[np.float32]]:
        """Of denoised latents: how far each of a picture's vectors lies from where it started; (h, w)."""
        ...

    def decode(self, job: Job, model: ModelSpec, latents: Latents) -> list[NDArray[np.uint8]]:
        """Latents → (H, W, 3) uint8 pictures; NaNs raise NotANumber."""
        ...

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job."""
        ...

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """A model that is not ours, kept with ours; `load` gets the name of the engine's device."""
        ...

    def load(self, job: Job, model: ModelSpec) -> None:
        """Load a model before it is needed; errors: UnknownName, RefusedFile, ModelError."""
        ...

    def unload(self, job: Job) -> None:
        """Drop every loaded model."""
        ...

    def used(self, job: Job) -> tuple[UsedWeights, ...]:
        """What computed for a job so far, by its hashes; see `Fingerprints` for those that are not known in time."""
        ...

    def machine(self) -> Mapping[str, Any]:
        """What of device and settings decides about a picture's last bits: device, number types, threads …"""
        ...

    def spent(self) -> Mapping[str, float]:
        """Seconds of the engine's thread since its start, `busy` and `idle`; nothing of an engine without one."""
        ...

    def memory(self) -> Mapping[str, Any]:
        """The device's memory: what A1111's `/memory` says under `cuda`."""
        ...

    def close(self) -> None:
        """Stop the engine's thread and free its models."""
        ...
