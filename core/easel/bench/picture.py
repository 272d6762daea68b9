"""One request on a full-size checkpoint: Easel against plain diffusers, and where its time goes."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from easel.bench.checkpoints import SD15, TINY, Shape, checkpoint_in, data_folder, unet_flops
from easel.bench.figures import Figure, Report, Target
from easel.bench.machine import matmul_peak
from easel.bench.opponent import fast_pipeline, plain_pipeline, run
from easel.bench.service import Studio
from easel.bench.timing import Effort, ModelTime, Side, alternate, model_time
from easel.models.placement import Placement, choose_placement, cpu_has_bf16
from easel.values.request import GenerationRequest

# Steps and side of the request, from what is asked to what a slow machine manages.
SIZES = ((20, 512), (20, 256), (8, 256), (4, 256), (4, 128))
PATIENCE = 30.0  # seconds that the denoising of one request may take
USUAL_SHARE = 0.6  # of the matrix-multiply peak, for that estimate
EASEL, PLAIN, FAST = "Easel", "diffusers, float32 as it comes", "diffusers, fastest setting"
UNET = "UNet2DConditionModel"


def measure(effort: Effort) -> Report:
    """Alternate with diffusers as it comes, then as it goes fastest, and look inside one more run of the latter two."""
    placement = choose_placement()
    shape, request, peak = choose_request(effort, placement)
    goal = Target("at least", 1.7, here=needs_bf16(placement))
    with data_folder(shape) as data, Studio(data) as studio:
        folder, ours = checkpoint_in(data, shape), partial(studio.make, request)
        # One opponent after the other: three full-size models at once need 13 GB.
        plain = compare(ours, PLAIN, run(plain_pipeline(folder), request), effort, goal)
        gc.collect()
        theirs = run(fast_pipeline(folder, placement), request)
        fast = compare(ours, FAST, theirs, effort)
        inside = {EASEL: _look_inside(ours), FAST: _look_inside(theirs)}
    size = f"{request.width}x{request.height}"
    return Report(
        name="picture",
        title=f"one request of {request.steps} steps, {size}, {shape.name}, {placement.dtype} on {placement.device}",
        figures=(plain, fast, _outside(inside), _of_peak(inside, unet_flops(shape, side=request.width), peak)),
        remark=f"Median of {effort.rounds} alternating rounds; whole requests, text to picture (a PNG at Easel).",
    )


def choose_request(effort: Effort, placement: Placement) -> tuple[Shape, GenerationRequest, float]:
    """A checkpoint's shape, a request for it that this machine can afford, and the matrix-multiply peak."""
    shape = TINY if effort.quick else SD15
    peak = matmul_peak(placement.dtype, placement.device, side=256 if effort.quick else 2048)
    steps, side = (4, 64) if effort.quick else _affordable(shape, peak)
    request = GenerationRequest(
        prompt="a cute cat, studio light", negative_prompt="blurry", seed=1, steps=steps, width=side, height=side
    )
    return shape, request, peak


def compare(ours: Side, opponent: str, theirs: Side, effort: Effort, target: Target | None = None) -> Figure:
    """Alternate Easel and an opponent on the same request."""
    rounds = alternate({EASEL: ours, opponent: theirs}, effort.rounds)
    return Figure(
        what="one request",
        value=rounds.median(EASEL),
        against=opponent,
        opponent=rounds.median(opponent),
        ratio=rounds.ratio(opponent, EASEL),
        target=target,
        samples=rounds.seconds,
    )


def needs_bf16(placement: Placement) -> str:
    """Why the goals for processors with bf16 instructions do not bind here; "" where they do."""
    return "" if placement.device.type != "cpu" or cpu_has_bf16() else "for bf16 hardware"


def _affordable(shape: Shape, peak: float) -> tuple[int, int]:
    """The largest of `SIZES` that this machine denoises within `PATIENCE`, or else the smallest."""
    for steps, side in SIZES:
        if steps * unet_flops(shape, side=side) / (peak * USUAL_SHARE) <= PATIENCE:
            return steps, side
    return SIZES[-1]


@dataclass(frozen=True, slots=True)
class Inside:
    """One run: the time in its models, and its wall time."""

    models: ModelTime
    wall: float

    @property
    def outside(self) -> float:
        """Percent of the time that no model had."""
        return 100 * (1 - self.models.total / self.wall)


def _look_inside(side: Side) -> Inside:
    with model_time() as spent:
        wall = alternate({EASEL: side}, 1, warm_up=False).median(EASEL)
    return Inside(spent, wall)


def _outside(inside: Mapping[str, Inside]) -> Figure:
    return Figure(
        what="time outside the models",
        value=inside[EASEL].outside,
        unit="%",
        against=FAST,
        opponent=inside[FAST].outside,
        target=Target("at most", 3.0),
    )


def _of_peak(inside: Mapping[str, Inside], flops: float, peak: float) -> Figure:
    ours, theirs = (100 * flops / inside[side].models.per_call(UNET) / peak for side in (EASEL, FAST))
    return Figure(
        what="share of the matrix-multiply peak in the UNet",
        value=ours,
        unit="%",
        against=FAST,
        opponent=theirs,
        note=f"{flops / 1e12:.2f} TFLOP a pass; peak {peak / 1e9:.0f} GFLOP/s",
    )
