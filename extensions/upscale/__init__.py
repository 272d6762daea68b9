"""Upscalers: networks from files and one that ships with Easel, for hires fix, img2img and the extras routes.

And who restores faces, with weights that operators supply.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from easel import Draft, Extension, Job, hookimpl, task

from .extras import Extras, enlarge_all
from .faces import Restorer, restorers
from .routes import routes

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class NetUpscaler:
    """One file of weights as an upscaler. `job` is whose pictures it enlarges; None in lists."""

    name: str
    path: Path
    scale: float = 4.0  # what A1111 lists; the network's own factor counts
    job: Job | None = None

    def for_job(self, job: Job) -> NetUpscaler:
        """The same for one job's pictures."""
        return NetUpscaler(self.name, self.path, self.scale, job)

    def upscale(self, picture: Pixels, scale: float) -> Pixels:
        """Apply once, on the engine's thread. Errors: RefusedFile, NotAvailable."""
        if self.job is None:
            raise RuntimeError("an upscaler in a list enlarges nothing: ask for_job")
        return self.job.compute(partial(self._enlarge, self.job, picture))

    def _enlarge(self, job: Job, picture: Pixels) -> Pixels:
        from .nets import load_net

        key = ("upscale", self.path, self.path.stat().st_mtime_ns)
        net = job.model(key, partial(load_net, self.path), 2 * self.path.stat().st_size)
        options = job.request.options
        return net.enlarge(picture, options.ESRGAN_tile, options.ESRGAN_tile_overlap)


class Upscale(Extension):
    """Registers the networks; answers `/sdapi/v1/extra-*` and `face-restorers`."""

    _app: Any = None

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the model store, which knows the files."""
        self._app = app

    @hookimpl
    def register_upscalers(self) -> list[NetUpscaler]:
        """Ours, and what lies in the model folders; asked again whenever those are looked at again."""
        shipped = [NetUpscaler(file.stem, file) for file in sorted(SHIPPED.glob("*.safetensors"))]
        found = {one.name: one for one in shipped}
        for file in self._app.store.files("upscaler") if self._app else ():
            if file.refused_reason is None:
                found[file.name.rpartition("/")[2]] = NetUpscaler(file.name.rpartition("/")[2], file.path)
        return list(found.values())

    @hookimpl
    def register_face_restorers(self) -> list[Restorer]:
        """GFPGAN and CodeFormer; whether they can work is looked at when they are asked for."""
        return restorers(lambda: self._app.settings) if self._app else []

    @hookimpl
    def register_routes(self, app: Any) -> APIRouter:
        """The extras routes."""
        return routes(app)

    @task(Extras)
    def extras(self, arguments: Extras, job: Job) -> Draft:
        """Enlarge pictures and restore their faces, as the extras routes ask."""
        app = self._app
        return enlarge_all(arguments, job, app.upscalers, app.face_restorers, limit=app.settings.max_input_pixels)
