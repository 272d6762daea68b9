"""The opponent: plain diffusers on the same checkpoint, as it comes and set as fast as it goes here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from easel.models.placement import Placement
from easel.values.request import GenerationRequest

# A script as people write it, run in a process of its own: argv is folder, width, height, steps. It prints its greatest
# memory in kB.
SCRIPT = """
import resource, sys, torch
from diffusers import StableDiffusionPipeline
folder, width, height, steps = sys.argv[1], *map(int, sys.argv[2:])
pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None, local_files_only=True)
pipe.set_progress_bar_config(disable=True)
pipe("a cute cat", width=width, height=height, num_inference_steps=steps).images[0].save(sys.stderr.buffer, "png")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def plain_pipeline(folder: Path) -> Any:
    """diffusers as it comes, in float32 whatever the files hold (it would mix number types)."""
    import diffusers
    import torch
    import transformers

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fast_pipeline(folder: Path, placement: Placement) -> Any:
    """diffusers as fast as it goes without compiling: on Easel's device in its number type, channels last, SDPA."""
    import torch

    pipe = plain_pipeline(folder).to(placement.device, placement.dtype)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    return pipe


def run(pipe: Any, request: GenerationRequest) -> Callable[[], object]:
    """The same picture as `request` asks of Easel, with diffusers' Euler sampler."""

    def make() -> object:
        import torch

        return pipe(
            request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.cfg_scale,
            generator=torch.Generator().manual_seed(request.seed),
        ).images

    return make
