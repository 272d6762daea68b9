"""One request on a full-size checkpoint: Easel against plain diffusers, and where its time goes."""

from __future__ import annotations

from easel.bench.checkpoints import SD15, TINY, Shape, checkpoint_in, data_folder, unet_flops
from easel.bench.figures import Figure, Report, Target
from easel.bench.machine import matmul_peak
from easel.bench.opponent import fast_pipeline, plain_pipeline, run
from easel.bench.service import Studio
from easel.bench.timing import Effort, ModelTime, Rounds, Side, alternate, model_time
from easel.models.placement import Placement, choose_placement, cpu_has_bf16
from easel.values.request import GenerationRequest

# Steps and side of the request, from what is asked to what a slow machine manages.
SIZES = ((20, 512), (20, 256), (8, 256), (4, 256), (2, 256))
PATIENCE = 45.0  # seconds that the denoising of one request may take
USUAL_SHARE = 0.6  # of the matrix-multiply peak, for that estimate
EASEL, PLAIN, FAST = "Easel", "diffusers, float32 as it comes", "diffusers, fastest setting"
UNET = "UNet2DConditionModel"


def measure(effort: Effort) -> Report:
    """Alternate the three sides, then look inside one run of Easel and of diffusers' fastest setting."""
    placement = choose_placement()
    shape = TINY if effort.quick else SD15
    peak = matmul_peak(placement.dtype, placement.device, side=256 if effort.quick else 2048)
    steps, side = (4, 64) if effort.quick else _affordable(shape, peak)
    request = GenerationRequest(
        prompt="a cute cat, studio light", negative_prompt="blurry", seed=1, steps=steps, width=side, height=side
    )
    with data_folder(shape) as data, Studio(data) as studio:
        folder = checkpoint_in(data, shape)
        fast = run(fast_pipeline(folder, placement), request)
        sides: dict[str, Side] = {
            EASEL: lambda: studio.make(request),
            PLAIN: run(plain_pipeline(folder), request),
            FAST: fast,
        }
        rounds = alternate(sides, effort.rounds)
        ours, our_wall = _inside(sides[EASEL])
        theirs, their_wall = _inside(fast)
    flops = unet_flops(shape, side=side)
    return Report(
        name="picture",
        title=f"one request of {steps} steps, {side}x{side}, {shape.name}, {placement.dtype} on {placement.device}",
        figures=(
            *_speed(rounds, placement),
            Figure(
                what="time outside the models",
                value=100 * (1 - ours.total / our_wall),
                unit="%",
                against=FAST,
                opponent=100 * (1 - theirs.total / their_wall),
                target=Target("at most", 3.0),
            ),
            Figure(
                what="share of the matrix-multiply peak in the UNet",
                value=100 * flops / ours.per_call(UNET) / peak,
                unit="%",
                against=FAST,
                opponent=100 * flops / theirs.per_call(UNET) / peak,
                note=f"{flops / 1e12:.2f} TFLOP a pass; peak {peak / 1e9:.0f} GFLOP/s",
            ),
        ),
        remark=f"Median of {effort.rounds} alternating rounds; whole requests, text to picture (a PNG at Easel).",
    )


def _affordable(shape: Shape, peak: float) -> tuple[int, int]:
    """The largest of `SIZES` that this machine denoises within `PATIENCE`, or else the smallest."""
    for steps, side in SIZES:
        if steps * unet_flops(shape, side=side) / (peak * USUAL_SHARE) <= PATIENCE:
            return steps, side
    return SIZES[-1]


def _speed(rounds: Rounds, placement: Placement) -> tuple[Figure, Figure]:
    # The figure the target was set by was probed on a processor with these instructions.
    target = Target(
        "at least", 1.7, here="" if cpu_has_bf16() or placement.device.type != "cpu" else "for bf16 hardware"
    )
    plain, fast = (
        Figure(
            what="one request",
            value=rounds.median(EASEL),
            against=opponent,
            opponent=rounds.median(opponent),
            ratio=rounds.ratio(opponent, EASEL),
            target=target if opponent is PLAIN else None,
            samples={EASEL: rounds.seconds[EASEL], opponent: rounds.seconds[opponent]},
        )
        for opponent in (PLAIN, FAST)
    )
    return plain, fast


def _inside(side: Side) -> tuple[ModelTime, float]:
    """One more run: the time in its models, and its wall time."""
    with model_time() as spent:
        wall = alternate({"it": side}, 1, warm_up=False).median("it")
    return spent, wall
