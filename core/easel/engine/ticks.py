"""The engine that computes: encode, denoise and decode for many jobs at once, in one thread with all models.

Job threads call and wait. A pass joins the ticks of `loop`; everything else runs there between ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from easel.engine import latents as latent
from easel.engine.encoding import Encoder, PassLength
from easel.engine.engine import DenoisePlan, Engine, ModelFacts, ModelSpec
from easel.engine.latents import LatentBatch, is_finite
from easel.engine.loop import Counters, Loop, charge
from easel.engine.passes import EDITING, INPAINTING, begin, plan_levels
from easel.engine.previews import cheap, colours_of, to_bytes
from easel.engine.texts import TextBatch, TextCache
from easel.engine.weights import Weights
from easel.engine.work import Call, Run
from easel.engine.workbench import Bench
from easel.errors import BadRequest, NotANumber
from easel.models.fingerprints import Fingerprints
from easel.models.placement import describe_machine, device_memory
from easel.prompt.infotext import hash_list
from easel.values.receipt import UsedWeights
from easel.values.result import ReportLine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from easel.models.cache import ModelCache
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.models.placement import Placement
    from easel.models.store import ModelStore
    from easel.values.job import Job

T = TypeVar("T")
# Where sharing a forward pass stops to pay: late on a GPU, soon on a processor (`easel bench` shows it).
LATENT_BUDGETS = {"cuda": 16 * 128 * 128}
CPU_LATENT_BUDGET = 2 * 64 * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine works.

    `reproducible`: one picture's rows to a forward pass, so that its picture is the same to the bit whoever else is
    served. `latent_budget`: latent cells (rows x h x w) a shared forward pass should not exceed; 0 chooses by device.
    """

    max_jobs: int = 8  # that denoise at once
    reproducible: bool = False
    latent_budget: int = 0
    nan_check: bool = True
    cached_texts: int = 256


class TickEngine(Engine):
    """One engine on one device: `store` says what is on disk, `cache` keeps what is loaded as `placement` says."""

    def __init__(
        self, store: ModelStore, cache: ModelCache, placement: Placement, options: EngineOptions | None = None
    ) -> None:
        options = options or EngineOptions()
        self._store = store
        self._bench = Bench(store, cache, placement)
        self._texts = TextCache(options.cached_texts)
        self._colours: dict[tuple[str, str, str], Tensor] = {}
        self._nan_check, self._reproducible = options.nan_check, options.reproducible
        self._prints = Fingerprints(store.digest)
        self._loop = Loop(
            self._bench,
            max_jobs=options.max_jobs,
            latent_budget=options.latent_budget or LATENT_BUDGETS.get(placement.device.type, CPU_LATENT_BUDGET),
            alone=options.reproducible,
            nan_check=options.nan_check,
        )

    @property
    def counters(self) -> Counters:
        """What the engine did so far."""
        return self._loop.counters

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        """Describe a checkpoint; errors: UnknownName, RefusedFile, ModelError.

        Computes the hash of a file that has none yet, on the job's thread.
        """
        info = self._store.hash(self._bench.look_up(model.checkpoint))
        described = self._bench.describe(info)
        family, blueprint = described.family, described.blueprint
        vae = self._store.vae(model.vae, info)
        if vae is not None:
            vae = self._store.hash(vae)
        return ModelFacts(
            title=info.title,
            name=info.model_name,
            short_hash=info.short_hash,
            family=family.name,
            pixels_per_latent=blueprint.latent.pixels,
            native_size=family.native_size,
            inpainting=blueprint.extra_channels == INPAINTING,
            vae_name=None if vae is None else vae.filename,
            vae_hash=None if vae is None else vae.short_hash,
        )

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
    ) -> TextBatch:
        """Parse, schedule and encode the texts of one pass; see `Engine.encode_prompts`."""
        weights = Weights.of(self._placed(model))

        def encode() -> TextBatch:
            checkpoint = self._bench.use(weights)
            self._use_checkpoint(job, checkpoint)
            inversions = self._bench.give_embeddings(checkpoint)
            for name in checkpoint.adapters.unmatched:
                job.warn(f"adapter layer without a place in this checkpoint: {name}")
            batch = Encoder(
                model=checkpoint,
                adapters=model.adapters,
                options=job.request.options,
                length=PassLength(calls=steps, first_pass_calls=first_pass_steps if hires else None),
                width=width,
                height=height,
                cache=self._texts,
                inversions=inversions,
            ).batch(positive, negative)
            for name, file in self._bench.embedding_files(batch.embeddings).items():
                self._use(job, "embedding", name, file.path)
            hashes = self._bench.embedding_hashes(batch.embeddings)
            return replace(batch, extra_infotext=(("TI hashes", hash_list(hashes)),)) if hashes else batch

        return self._loop.call(Call(job, encode, weights), "encode")

    def encode_pictures(self, job: Job, model: ModelSpec, pictures: Sequence[NDArray[np.uint8]]) -> LatentBatch:
        """(H, W, 3) uint8 pictures → latents, one per picture; an array given several times is encoded once."""
        model, known = self._placed(model), dict[int, LatentBatch]()
        for picture in pictures:
            if id(picture) not in known:
                call = Call(job, partial(self._encode_picture, job, model, picture), model.checkpoint)
                known[id(picture)] = self._loop.call(call, "encode")
        encoded = [known[id(picture)] for picture in pictures]
        return LatentBatch(tuple(one.pictures[0] for one in encoded), encoded[0].pixels_per_latent)

    def resize_latents(self, job: Job, latents: LatentBatch, mode: str, width: int, height: int) -> LatentBatch:
        """Interpolate latents; see `Engine.resize_latents`."""
        return self._loop.call(Call(job, partial(latent.resize, latents, mode, width, height)), "denoise")

    def crop_latents(self, job: Job, latents: LatentBatch, left: int, top: int, right: int, bottom: int) -> LatentBatch:
        """Cut columns and rows (latent units) off the sides."""
        return self._loop.call(Call(job, partial(latent.crop, latents, left, top, right, bottom)), "denoise")

    def denoise(self, job: Job, model: ModelSpec, plan: DenoisePlan) -> LatentBatch:
        """Run a pass to its end, or to the step at which the job was interrupted, skipped or cancelled.

        `plan.on_step` is called on the job's own thread; the engine does not wait for it.
        """
        self._loop.refuse_thread()
        model = self._placed(model)
        plan = plan if plan.refiner is None else replace(plan, refiner=self._placed(plan.refiner))
        weights = Weights.of(model)
        run = self._loop.call(Call(job, partial(self._begin, job, model, weights, plan), weights), "denoise")
        try:
            return run.follow(plan.on_step)
        finally:
            charge(run, "denoise")

    def distances(self, job: Job, latents: LatentBatch) -> list[NDArray[np.float32]]:
        """How far each vector of denoised latents lies from where it started; (h, w)."""
        measured = self._loop.call(Call(job, partial(latent.distances, latents)), "denoise")
        return [one.float().cpu().numpy() for one in measured]

    def decode(self, job: Job, model: ModelSpec, latents: LatentBatch) -> list[NDArray[np.uint8]]:
        """Latents → (H, W, 3) uint8 pictures; NaNs raise NotANumber. See `LatentBatch.checkpoint`."""
        model = replace(model, checkpoint=latents.checkpoint) if latents.checkpoint else self._placed(model)
        calls = (Call(job, partial(self._decode_picture, job, model, x), model.checkpoint) for x in latents.pictures)
        return [self._loop.call(call, "decode") for call in calls]

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job."""
        return self._loop.call(Call(job, fn), "compute")

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """A model that is not ours, kept with ours; `load` gets the name of the engine's device."""
        return self._bench.foreign(key, load, size)

    def load(self, job: Job, model: ModelSpec) -> None:
        """Load a model before it is needed; errors: UnknownName, RefusedFile, ModelError."""
        weights = Weights.of(self._placed(model))
        self._loop.call(Call(job, lambda: self._bench.use(weights), weights), "load")

    def unload(self, job: Job) -> None:
        """Drop every loaded model."""
        self._loop.call(Call(job, self._bench.clear), "load")

    def used(self, job: Job) -> tuple[UsedWeights, ...]:
        """What computed for a job so far, by its hashes."""
        found = sorted(job.used.items())
        return tuple(UsedWeights(kind=kind, name=name, sha256=self._prints.get(path)) for (kind, name), path in found)

    def machine(self) -> Mapping[str, Any]:
        """Device, number types, threads, and the flags that choose how it computes."""
        return describe_machine(self._bench.placement) | {"reproducible": self._reproducible}

    def spent(self) -> Mapping[str, float]:
        """Seconds of the engine's thread since its start: `busy` and `idle`."""
        told = self.counters
        return {"busy": told.tick_seconds + told.call_seconds + told.load_seconds, "idle": told.idle_seconds}

    def memory(self) -> Mapping[str, Any]:
        """The device's memory: what A1111's `/memory` says under `cuda`."""
        return device_memory(self._bench.device)

    def close(self) -> None:
        """Stop the engine's thread; whoever waits for it gets an error."""
        self._loop.close()
        self._prints.close()

    def _placed(self, model: ModelSpec) -> ModelSpec:
        """The model by its file: users may have different files of one name, and share what they have in common."""
        return replace(model, checkpoint=self._bench.file_of(model.checkpoint))

    @torch.inference_mode()
    def _begin(self, job: Job, model: ModelSpec, weights: Weights, plan: DenoisePlan) -> Run:
        checkpoint = self._bench.use(weights)
        self._use_checkpoint(job, checkpoint)
        for control in plan.conditioning.controls:
            self._use(job, "controlnet", Path(control.model).stem, Path(control.model))
        if plan.request.init and plan.request.init.image_cfg_scale and checkpoint.blueprint.extra_channels != EDITING:
            reason = f"{checkpoint.info.title} is no checkpoint that edits pictures"
            job.note(ReportLine(item="image_cfg_scale", outcome="ignored", reason=reason))
        sampling = plan_levels(plan, checkpoint)
        refiner = None if plan.refiner is None else Weights.of(plan.refiner)
        run = Run(
            job=job,
            pictures=begin(
                plan,
                sampling,
                weights,
                checkpoint,
                refiner=lambda: self._bench.use(refiner or weights),
                nets=self._bench.controlnet,
            ),
            steps=sampling.steps,
            stage=plan.conditioning.stage,
            pixels_per_latent=checkpoint.latent.pixels,
            preview=partial(self._preview, job, model),
        )
        run.report()  # a pass may be over before it began: img2img at strength 0
        if not run.ended:
            self._loop.join(run)
        return run

    @torch.inference_mode()
    def _encode_picture(self, job: Job, model: ModelSpec, picture: NDArray[np.uint8]) -> LatentBatch:
        checkpoint = self._bench.checkpoint(model.checkpoint, vae=model.vae, tiling=model.tiling)
        self._use_vae(job, checkpoint)
        pixels = torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        encoded = checkpoint.encode_pixels(pixels)
        self._check(encoded)
        return LatentBatch((encoded,), checkpoint.latent.pixels)

    @torch.inference_mode()
    def _decode_picture(self, job: Job, model: ModelSpec, x: Tensor) -> NDArray[np.uint8]:
        checkpoint = self._bench.checkpoint(model.checkpoint, vae=model.vae, tiling=model.tiling)
        self._use_vae(job, checkpoint)
        decoded = checkpoint.decode_latents(x)
        self._check(decoded)
        return to_bytes(decoded[0].permute(1, 2, 0))

    def _use(self, job: Job, kind: str, name: str, path: Path) -> None:
        """Note for the receipt what computes; its hash is looked for meanwhile."""
        if (kind, name) not in job.used:
            job.used[kind, name] = path
            self._prints.begin(path)

    def _use_checkpoint(self, job: Job, checkpoint: LoadedCheckpoint) -> None:
        """The checkpoint, with the adapters and the separate autoencoder in it."""
        self._use(job, "checkpoint", checkpoint.info.filename, checkpoint.info.path)
        for adapter in checkpoint.adapters.active:
            self._use(job, adapter.kind, adapter.name, Path(adapter.file))

    def _use_vae(self, job: Job, checkpoint: LoadedCheckpoint) -> None:
        if checkpoint.vae_path is not None:
            self._use(job, "vae", checkpoint.vae_path.name, checkpoint.vae_path)

    def _preview(self, job: Job, model: ModelSpec, latents: LatentBatch, kind: str) -> list[NDArray[np.uint8]]:
        if kind == "full":
            return self.decode(job, model, replace(latents, checkpoint=model.checkpoint))
        if kind != "cheap":
            raise BadRequest("unknown kind of preview", field="preview", value=kind, allowed="cheap, full")
        key = (model.checkpoint, model.vae, job.user)
        if key not in self._colours:
            self._colours[key] = self._loop.call(
                Call(job, partial(self._fit_colours, model), model.checkpoint), "decode"
            )
        return cheap(latents, self._colours[key])

    @torch.inference_mode()
    def _fit_colours(self, model: ModelSpec) -> Tensor:
        return colours_of(self._bench.checkpoint(model.checkpoint, vae=model.vae, tiling=model.tiling))

    def _check(self, x: Tensor) -> None:
        if self._nan_check and not is_finite(x):
            raise NotANumber
