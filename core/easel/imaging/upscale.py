"""Making pictures larger without or with a model: the upscaler contract, the three that are always there, the loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PIL.Image import Resampling

from easel.errors import BadRequest, UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

    from easel.values.job import Job

_MAX_ROUNDS = 3  # a 4x model reaches 64x, no request needs more

# A1111's labels of interpolating latents instead of pixels, and the engine's names of the modes.
LATENT_MODES = {
    "Latent": "bilinear",
    "Latent (antialiased)": "bilinear-antialiased",
    "Latent (bicubic)": "bicubic",
    "Latent (bicubic antialiased)": "bicubic-antialiased",
    "Latent (nearest)": "nearest",
    "Latent (nearest-exact)": "nearest-exact",
}


class Upscaler(Protocol):
    """Makes an RGB picture larger. An extension returns one from `register_upscalers`."""

    @property
    def name(self) -> str:
        """As requests name it."""
        ...

    @property
    def scale(self) -> float:
        """The factor one application gives; of the built-in ones, what A1111 lists."""
        ...

    def upscale(self, picture: Pixels, scale: float) -> Pixels:
        """Apply once. `scale` is what is still wanted; a model with a factor of its own does not look at it."""
        ...

    def for_job(self, job: Job) -> Upscaler:
        """The same for one job's pictures: what computes with a model does it through `job.compute`."""
        ...


@dataclass(frozen=True, slots=True)
class Interpolation:
    """An upscaler that only interpolates; without a filter the picture stays as it is ("None")."""

    name: str
    resampling: Resampling | None
    scale: float = 4.0

    def upscale(self, picture: Pixels, scale: float) -> Pixels:
        """Apply once."""
        if self.resampling is None:
            return picture
        return picture.resize((int(picture.width * scale), int(picture.height * scale)), self.resampling)

    def for_job(self, job: Job) -> Upscaler:
        """The same for every job."""
        return self


# The first three of A1111's list, in its order: scripts name upscalers by index.
BUILT_IN: tuple[Upscaler, ...] = (
    Interpolation("None", None),
    Interpolation("Lanczos", Resampling.LANCZOS),
    Interpolation("Nearest", Resampling.NEAREST),
)


def all_upscalers(registered: Iterable[Upscaler] = ()) -> tuple[Upscaler, ...]:
    """The list that clients see: the built-in ones, then what extensions registered, by name."""
    return *BUILT_IN, *sorted(registered, key=lambda upscaler: upscaler.name.casefold())


def hires_upscalers(upscalers: Iterable[Upscaler]) -> tuple[str, ...]:
    """What `hr_upscaler` may name: the latent modes, then upscalers of pictures."""
    return *LATENT_MODES, *(upscaler.name for upscaler in upscalers)


def find_upscaler(name: str, upscalers: Iterable[Upscaler], field: str = "upscaler") -> Upscaler:
    """The upscaler of that name. Errors: UnknownName."""
    known = {upscaler.name: upscaler for upscaler in upscalers}
    if name not in known:
        raise UnknownName.among(field, name, known)
    return known[name]


def upscale(picture: Pixels, scale: float, upscaler: Upscaler) -> Pixels:
    """Enlarge by `scale`, applying the upscaler until that is reached; sides are cut down to multiples of 8 (A1111).

    No side gets smaller than 8 pixels. Errors: BadRequest (scale not positive).
    """
    if not scale > 0:
        raise BadRequest("the factor must be positive", field="scale", value=scale)
    width, height = (max(8, int(side * scale // 8 * 8)) for side in picture.size)
    for done in range(_MAX_ROUNDS):
        if picture.width >= width and picture.height >= height and (done or scale != 1):
            break
        before = picture.size
        picture = upscaler.upscale(picture, scale)
        if picture.size == before:
            break
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Resampling.LANCZOS)
