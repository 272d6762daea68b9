"""A request: what was asked, fully resolved (no defaults left open, seeds drawn, names looked up) and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from easel.values.options import Options
from easel.values.wire import BASE64_BYTES

Kind = Literal["txt2img", "img2img", "task"]


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """An input picture as it came: the bytes of a PNG, JPEG, WebP … file that was checked to be readable."""

    __pydantic_config__ = BASE64_BYTES

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hires:
    """The second pass of a txt2img request: upscale, then img2img at `denoising_strength`."""

    upscaler: str = "Latent"
    scale: float = 2.0
    resize_x: int = 0
    resize_y: int = 0
    steps: int = 0  # 0: as the first pass
    denoising_strength: float = 0.75
    prompt: str = ""  # "": as the first pass
    negative_prompt: str = ""
    checkpoint: str | None = None
    sampler: str | None = None
    scheduler: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpaint:
    """A mask (white = repaint) and how it is used."""

    mask: EncodedPicture
    latent_mask: EncodedPicture | None = None  # of the pass's size: what is denoised, else `mask`
    blur_x: int = 4
    blur_y: int = 4
    round: bool = True
    fill: int = 0  # 0 surroundings, 1 original, 2 latent noise, 3 latent zeros
    full_res: bool = True  # work on the mask's bounding box only
    full_res_padding: int = 0  # pixels
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InitImages:
    """The pictures an img2img request starts from; one, or one per picture of the batch."""

    pictures: tuple[EncodedPicture, ...]
    colors: EncodedPicture | None = None  # what option `img2img_color_correction` matches; None: each picture itself
    resize_mode: int = 0  # 0 stretch, 1 crop, 2 fill, 3 stretch the latent
    image_cfg_scale: float | None = None
    inpaint: Inpaint | None = None
    include_in_response: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiner:
    """Another checkpoint that takes over at `switch_at` (fraction of the noise schedule)."""

    checkpoint: str
    switch_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What happens to finished pictures."""

    save: bool = False
    send: bool = True
    save_dir: str | None = None  # below the data folder; None: outputs/
    journal: bool = False  # note each path before it is written (tasks of the queue)
    do_not_save_grid: bool = False


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One script named by a request; `arguments` as sent: a list in A1111's order, or a mapping by name."""

    name: str
    arguments: tuple[Any, ...] | Mapping[str, Any] = ()


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A task of an extension (`easel.task`) with its arguments as JSON: the whole request when `kind` is "task"."""

    extension: str
    task: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StyleTexts:
    """A style that a request names; one that there is not has no texts."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The texts as they were typed, and the styles to merge into them: what a script that writes prompts begins with.

    `easel.retyped` gives the request as if other ones had been typed.
    """

    prompt: str = ""
    negative_prompt: str = ""
    hires_prompt: str = ""
    hires_negative_prompt: str = ""
    styles: tuple[StyleTexts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """Everything a picture depends on. `seed` and `subseed` are drawn already, names are looked up already."""

    kind: Kind = "txt2img"
    prompt: str = ""  # with the styles merged in
    negative_prompt: str = ""
    styles: tuple[str, ...] = ()
    typed: Typed | None = None  # None: the prompts are as they were typed
    seed: int = 0
    seed_drawn: bool = False  # nobody chose it
    subseed: int = 0
    subseed_strength: float = 0.0
    seed_resize_from_w: int = -1
    seed_resize_from_h: int = -1
    checkpoint: str = ""  # title in the model store
    vae: str = "Automatic"  # Automatic, None or a name
    sampler: str = "Euler"
    scheduler: str = "Automatic"
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512  # pixels, as asked; the picture is cut to what the family's latent grid holds
    height: int = 512
    batch_size: int = 1
    n_iter: int = 1
    denoising_strength: float | None = None
    eta: float | None = None
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None
    s_min_uncond: float | None = None
    tiling: bool = False
    restore_faces: bool = False
    hires: Hires | None = None
    init: InitImages | None = None
    refiner: Refiner | None = None
    disable_extra_networks: bool = False
    script: ScriptCall | None = None
    always_on: tuple[ScriptCall, ...] = ()
    options: Options = field(default_factory=Options)
    overridden: tuple[str, ...] = ()  # names of the options the request itself set
    output: Output = field(default_factory=Output)
    strict: bool = False  # what would be ignored is refused
    uid: str = ""  # whom the client accounts this to; no right comes of it
    task: TaskCall | None = None
    explain: bool = False  # walk the road without making pictures, to tell what would happen
    extensions: tuple[str, ...] | None = None  # of those that are on, the ones the user wants; None: all
    infotext: tuple[tuple[str, Any], ...] = ()  # what a script adds to the generation data of its parts

    @property
    def image_count(self) -> int:
        """How many pictures this request makes, grids and maps not counted."""
        return self.batch_size * self.n_iter
