"""Soft inpainting: a mask of degrees instead of a border. The engine blends, the core covers; this only asks for it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from pydantic import BaseModel, Field

from easel import BadRequest, Conditioning, Draft, Extension, Job, ReportLine, Script, SoftBlend, hookimpl

TITLE = "Soft Inpainting"


class Arguments(BaseModel):
    """In A1111's order; whole numbers stay whole, as the generation data tell them."""

    enabled: bool = Field(False, title="Soft inpainting")
    schedule_bias: int | float = Field(1, title="Schedule bias", ge=0, le=8)
    preservation_strength: int | float = Field(0.5, title="Preservation strength", ge=0, le=8)
    transition_contrast_boost: int | float = Field(4, title="Transition contrast boost", ge=1, le=32)
    mask_influence: int | float = Field(0, title="Mask influence", ge=0, le=1)
    difference_threshold: int | float = Field(0.5, title="Difference threshold", ge=0, le=8)
    difference_contrast: int | float = Field(2, title="Difference contrast", ge=0, le=8)

    def blend(self) -> SoftBlend:
        """The same as the mask's value."""
        return SoftBlend(
            bias=self.schedule_bias,
            preservation=self.preservation_strength,
            contrast=self.transition_contrast_boost,
            mask_influence=self.mask_influence,
            threshold=self.difference_threshold,
            hardness=self.difference_contrast,
        )

    def infotext(self) -> tuple[tuple[str, object], ...]:
        """What the generation data tell."""
        fields = list(type(self).model_fields.items())[1:]
        told = [(f"Soft inpainting {(facts.title or name).lower()}", getattr(self, name)) for name, facts in fields]
        return (("Soft inpainting enabled", True), *told)


class SoftInpainting(Extension):
    """Always on; does something where it is enabled and there is a mask."""

    @hookimpl
    def register_scripts(self) -> Script:
        """The script, for img2img."""
        return Script(TITLE, Arguments, always_on=True, tabs=("img2img",))

    @hookimpl(wrapper=True, tryfirst=True)
    def generate(self, job: Job) -> Generator[None, Draft | None, Draft | None]:
        """The mask keeps its degrees: it is not rounded."""
        init = job.request.init
        if _asked(job) is not None:
            if init is None or init.inpaint is None:
                self._ignore(job, "there is no mask")
            else:
                job.request = replace(job.request, init=replace(init, inpaint=replace(init.inpaint, round=False)))
        return (yield)

    @hookimpl
    def add_conditioning(self, conditioning: Conditioning, job: Job) -> Conditioning | None:
        """The pass's mask becomes a soft one."""
        arguments, mask = _asked(job), conditioning.mask
        if arguments is None or mask is None:
            return None
        return replace(
            conditioning,
            mask=replace(mask, soft=arguments.blend()),
            infotext=(*conditioning.infotext, *arguments.infotext()),
        )

    def _ignore(self, job: Job, reason: str) -> None:
        if job.request.strict:
            raise BadRequest(f"{TITLE} would be ignored: {reason} (the request is strict)")
        job.warn(f"{TITLE}: {reason}")
        job.note(ReportLine(item=TITLE, outcome="ignored", reason=reason, extension=self.name))


def _asked(job: Job) -> Arguments | None:
    arguments = job.script_args(Arguments)
    return arguments if arguments is not None and arguments.enabled else None
