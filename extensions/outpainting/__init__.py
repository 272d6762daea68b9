"""Outpainting: Outpainting mk2 and Poor man's outpainting, with A1111's arguments and PAI's."""

from __future__ import annotations

from typing import Any

from easel import Draft, Extension, Job, Script, check_count, check_request, flatten, hookimpl, open_picture

from . import mk2, poor_mans


class Outpainting(Extension):
    """Both scripts. What they paint are parts of the job, which share the engine's forward passes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the limits."""
        self._settings = app.settings

    @hookimpl
    def register_scripts(self) -> list[Script]:
        """The scripts, for img2img."""
        return [
            Script(mk2.TITLE, mk2.Arguments, tabs=("img2img",)),
            Script(poor_mans.TITLE, poor_mans.Arguments, tabs=("img2img",)),
        ]

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse what is too large before it waits. Errors: BadRequest."""
        if (arguments := job.script_args(mk2.Arguments)) is not None:
            growths = mk2.growths(job.request, arguments, _start(job).size)
            check_count(len(growths) * job.request.image_count, self._settings)
            for growth in growths:
                check_request(mk2.part(job.request, growth), self._settings)
        if (poor := job.script_args(poor_mans.Arguments)) is not None:
            check_count(len(poor_mans.Plan.of(job.request, poor, _start(job).size).painted), self._settings)

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """The first start picture, larger."""
        if (arguments := job.script_args(mk2.Arguments)) is not None:
            return mk2.paint(job, arguments, _start(job))
        if (poor := job.script_args(poor_mans.Arguments)) is not None:
            return poor_mans.paint(job, poor, _start(job))
        return None


def _start(job: Job) -> Any:
    init = job.request.init
    assert init is not None
    if len(init.pictures) > 1:
        job.warn("outpainting begins with the first picture")
    picture = open_picture(init.pictures[0].data, field="init_images[0]")
    return flatten(picture, job.request.options.img2img_background_color)
