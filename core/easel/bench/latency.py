"""How long a short job takes beside a long one."""

from __future__ import annotations

import time
from contextlib import suppress

from easel.bench.checkpoints import TINY, data_folder
from easel.bench.figures import Figure, Report, Target
from easel.bench.service import Studio
from easel.bench.timing import Effort, alternate
from easel.errors import JobCancelled
from easel.values.request import GenerationRequest

SHORT, LONG = 4, 100  # steps


def measure(effort: Effort) -> Report:
    """The short job alone and beside the long one, in turn; the long one is cancelled when the short one is done."""
    side = 64 if effort.quick else 512
    short = GenerationRequest(prompt="a red fox", seed=2, steps=SHORT, width=side, height=side)
    long = GenerationRequest(prompt="a cute cat", seed=1, steps=LONG, width=side, height=side, sampler="DPM++ 2M")
    with data_folder(TINY if effort.quick else None) as data, Studio(data) as studio:

        def beside() -> float:
            job = studio.begin(long)
            studio.wait_until_it_denoises(job)
            begin = time.perf_counter()
            studio.make(short)
            seconds = time.perf_counter() - begin
            job.cancel()
            with suppress(JobCancelled):
                studio.end(job)
            return seconds

        rounds = alternate({"alone": lambda: studio.make(short), "beside": beside}, effort.rounds)
    return Report(
        name="latency",
        title=f"a job of {SHORT} steps while one of {LONG} steps runs",
        figures=(
            Figure(
                what=f"{SHORT} steps beside {LONG}, {side}x{side}",
                value=rounds.median("beside"),
                against="alone",
                opponent=rounds.median("alone"),
                ratio=rounds.ratio("beside", "alone"),
                target=Target("at most", 3.0),
                samples=rounds.seconds,
            ),
        ),
        remark=f"Median of {effort.rounds} alternating rounds; both jobs are of the same user.",
    )
