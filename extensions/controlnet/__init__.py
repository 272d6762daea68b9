"""ControlNet: pictures become maps, and maps steer what is painted: the units of `alwayson_scripts.controlnet`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from easel import (
    BadRequest,
    Conditioning,
    Draft,
    Extension,
    Image,
    Job,
    NotAvailable,
    ReportLine,
    ScopedFiles,
    Script,
    hookimpl,
    picture_bytes,
    task,
)

from . import preprocessors
from .detecting import annotator_files
from .finishing import FINISHES, finished
from .library import Library
from .resolved import Remark, Resolved, resolve
from .routes import Detection, detected, routes
from .steering import Steering
from .units import Movie, Unit, Units

if TYPE_CHECKING:
    from fastapi import APIRouter


class ControlNet(Extension):
    """Resolves units, makes their maps in a worker, and answers the `/controlnet` routes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep what the service lends: settings, model store, fetcher."""
        self._app = app
        self._library = Library(app.store)
        self._steering = Steering(app)

    @hookimpl
    def register_scripts(self) -> list[Script]:
        """The units; and the name that clients look for to know that units can be sent."""
        units = Script(
            "ControlNet", Units, always_on=True, variadic=True, choices=self._choices, preview=self.preview.__name__
        )
        return [units, Script("controlnet m2m", Movie)]

    def _choices(self, tab: str) -> dict[str, list[str]]:
        runnable = preprocessors.runnable(annotator_files(self._app.settings))
        return {"module": [one.name for one in runnable], "model": ["", *self._library.titles()]}

    @hookimpl
    def register_routes(self, app: Any) -> APIRouter:
        """`/controlnet/…`."""
        return routes(app, self._library, self.name)

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse what cannot be done before it waits: unknown names, values out of bounds, too many units."""

        def remark(key: str, reason: str) -> None:
            if job.request.strict:
                raise BadRequest(f"{key} would be ignored: {reason} (the request is strict)")

        for one in self._resolved(job, remark):
            self._check_output_dir(one)

    @hookimpl(tryfirst=True)
    def generate(self, job: Job) -> Draft | None:
        """Say what "controlnet m2m" is not."""
        if job.script_args(Movie) is not None:
            raise NotAvailable("controlnet m2m: videos are not made here; send each frame as a unit's picture")
        return None

    @hookimpl
    def add_conditioning(self, conditioning: Conditioning, job: Job) -> Conditioning | None:
        """Controls and references from the request's units, with the maps that show them."""
        changed = conditioning
        for one in self._resolved(job, self._noting(job)):
            steered = self._steering.steer(one, changed, job)
            if steered is None:
                self._ignored(job, one.field, "there is no picture: send `image`")
                continue
            with_what = f"{one.preprocessor.name} with {one.model.name}" if one.model else one.preprocessor.name
            job.note(ReportLine(item=one.field, outcome="applied", reason=with_what, extension=self.name))
            changed = steered
        return None if changed is conditioning else changed

    @hookimpl
    def process_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...] | None:
        """Put the kept part of a picture back (inpaint_only), or its lightness (recolor)."""
        finishing = [one for one in self._resolved(job, lambda key, reason: None) if one.preprocessor.name in FINISHES]
        for one in finishing:
            images = tuple(self._finished(one, image, job) for image in images)
        return images if finishing else None

    @task(Detection)
    def detect(self, arguments: Detection, job: Job) -> Draft:
        """The maps of pictures: what `POST /controlnet/detect` asks for."""
        maps = detected(
            arguments, self._app, job, lambda text, field: picture_bytes(self._app.fetcher, text, field=field)
        )
        return Draft(images=tuple(Image(pixels=one, kind="control", index=k) for k, one in enumerate(maps)), info={})

    @task(Unit)
    def preview(self, arguments: Unit, job: Job) -> Draft:
        """The maps of one unit's pictures, as its preprocessor makes them."""
        pictures = arguments.pictures()
        asked = Detection(
            controlnet_module=arguments.module,
            controlnet_input_images=[str(picture) for picture, _ in pictures],
            controlnet_masks=[str(mask) for _, mask in pictures if mask],
            controlnet_processor_res=arguments.processor_res,
            controlnet_threshold_a=arguments.threshold_a,
            controlnet_threshold_b=arguments.threshold_b,
        )
        return self.detect(asked, job)

    def _resolved(self, job: Job, remark: Remark) -> list[Resolved]:
        units = job.script_args(Units)
        if units is None or not units.enabled():
            return []
        return list(resolve(units, job.request, self._library, annotator_files(self._app.settings), remark))

    def _finished(self, one: Resolved, image: Image, job: Job) -> Image:
        width, height = image.pixels.size
        here = Conditioning(width=width, height=height, images=1)
        source = self._steering.source(one, here, job)
        if source is None or image.kind != "result":
            return image
        found = self._steering.map(one, source, width, height, job)
        blur = job.request.options.control_net_inpaint_blur_sigma
        return replace(image, pixels=finished(one.preprocessor.name, found, image.pixels, blur))

    def _noting(self, job: Job) -> Callable[[str, str], None]:
        return lambda key, reason: self._ignored(job, key, reason)

    def _ignored(self, job: Job, item: str, reason: str) -> None:
        job.warn(f"{item}: {reason}")
        job.note(ReportLine(item=item, outcome="ignored", reason=reason, extension=self.name))

    def _check_output_dir(self, one: Resolved) -> None:
        """A folder that is named must be one that could be written to, though nothing is. Errors: Forbidden."""
        folder = (one.unit.model_extra or {}).get("output_dir")
        if folder:
            ScopedFiles(self._app.settings.data_dir, denied=("extensions", "users")).relative(str(folder))
