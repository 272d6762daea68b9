"""The same request with compiled models (`--blade`) against plain diffusers."""

from __future__ import annotations

import shutil
from functools import partial

from easel.bench.checkpoints import checkpoint_in, data_folder
from easel.bench.figures import Report, Target
from easel.bench.opponent import plain_pipeline, run
from easel.bench.picture import PLAIN, choose_request, compare, needs_bf16
from easel.bench.service import Studio
from easel.bench.timing import Effort
from easel.models.placement import COMPILERS, choose_placement


def measure(effort: Effort) -> Report:
    """Compiling is part of the warm-up and not counted. Without a C++ compiler there is nothing to measure."""
    if not any(map(shutil.which, COMPILERS)):
        return Report(
            name="blade", title="--blade", figures=(), remark=f"Not measured: it needs {' or '.join(COMPILERS)}."
        )
    placement = choose_placement()
    shape, request, _ = choose_request(effort, placement)
    with data_folder(shape) as data, Studio(data, "--blade") as studio:
        opponent = run(plain_pipeline(checkpoint_in(data, shape)), request)
        figure = compare(
            partial(studio.make, request), PLAIN, opponent, effort, Target("at least", 2.1, here=needs_bf16(placement))
        )
    return Report(
        name="blade",
        title=f"one request of {request.steps} steps, {request.width}x{request.height}, {shape.name}, --blade",
        figures=(figure,),
        remark=f"Median of {effort.rounds} alternating rounds; compiling is not counted.",
    )
