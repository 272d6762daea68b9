"""The settings of a generation: one form, whose controls have the names of the request's fields they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from gradio.components import Component

from easel.ui import choices
from easel.ui.controls import form_component, lines, named, number, pick, radio, row, slider, switch, tool
from easel.ui.markup import Html, joined, tag

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.ui.page import Page

Kind = Literal["txt2img", "img2img"]
SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULER = "Use same checkpoint", "Use same sampler", "Use same scheduler"
_LARGEST_SIDE = 2048
_RATIOS = ("1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16")
_RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
_MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
Words = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Panel:
    """The form and its defaults by name. Names that are no field of the request are switches."""

    kind: Kind
    form: Any
    defaults: Mapping[str, Any]

    def sent(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What goes into the request: nothing that a switch leaves out; `resize_by` scales the start picture."""
        given = named(self.defaults, values)
        hidden = {name for switched, names in _BEHIND.items() if not given.get(switched) for name in names}
        if self.kind == "txt2img" and not given.get("enable_hr"):
            hidden.add("denoising_strength")
        scale = {"resize_by": given["scale"]} if given.get("resize") == "by" else {}
        return {name: value for name, value in given.items() if name not in hidden and name not in _SWITCHES} | scale


def build_panel(page: Page, kind: Kind) -> Panel:
    """The form of a tab, made where this is called."""
    app, words = page.app, page.text
    first = choices.first_values(app.chosen_checkpoint())
    defaults = {**_DEFAULTS, **_OWN[kind], **{name: first[name] for name in _FIRST}}
    defaults["refiner_checkpoint"] = next(iter(choices.checkpoints(app)), "")
    parts = [
        *(_start(words, defaults) if kind == "img2img" else ()),
        _sampling(words, defaults),
        *(_hires(app, words, defaults) if kind == "txt2img" else ()),
        *_refiner(app, words, defaults),
        _size(kind, words, defaults),
        slider("cfg_scale", words("CFG Scale"), 1, 30, defaults["cfg_scale"], 0.5),
        *_seed(kind, words, defaults),
    ]
    form = form_component(joined(parts), f"{kind}_panel")
    return Panel(kind, form, defaults)


def connect_sizes(page: Page, panel: Panel, measured: Callable[..., tuple[int, int]], start: list[Component]) -> None:
    """Let the small buttons beside the size ask the service. `measured(*start)`: the size of the start picture."""

    def size(event: gr.EventData, title: str | None, *values: Any) -> dict[str, Any]:
        if event._data["act"] == "measure":
            width, height = measured(*values)
        else:
            found = page.app.store.checkpoint(title) if title else page.app.chosen_checkpoint()
            width, height = choices.native_size(found)
        return {"width": width, "height": height}

    panel.form.act(size, [page.checkpoint, *start], panel.form, show_progress="hidden")


def _sampling(words: Words, first: Mapping[str, Any]) -> Html:
    return row(
        _list("sampler_name", words("Sampling method"), choices.samplers(), first),
        _list("scheduler", words("Schedule type"), choices.schedulers(), first),
        slider("steps", words("Sampling steps"), 1, 150, first["steps"], 1),
    )


def _hires(app: Easel, words: Words, first: Mapping[str, Any]) -> tuple[Html, ...]:
    """The hires pass, shown when it is switched on."""
    empty = words("empty: as the first pass")
    more = tag(
        "details",
        tag("summary", words("Checkpoint, sampler and prompts of the hires pass")),
        row(
            _list("hr_checkpoint_name", words("Checkpoint"), [SAME_CHECKPOINT, *choices.checkpoints(app)], first),
            _list("hr_sampler_name", words("Sampler"), [SAME_SAMPLER, *choices.samplers()], first),
            _list("hr_scheduler", words("Schedule type"), [SAME_SCHEDULER, *choices.schedulers()], first),
        ),
        lines("hr_prompt", words("Hires prompt"), "", rows=2, empty=empty),
        lines("hr_negative_prompt", words("Hires negative prompt"), "", rows=2, empty=empty),
    )
    inner = tag(
        "div",
        row(
            _list("hr_upscaler", words("Upscaler"), choices.hires(app), first),
            slider("hr_second_pass_steps", words("Hires steps"), 0, 150, 0, 1),
            slider("denoising_strength", words("Denoising strength"), 0, 1, first["denoising_strength"], 0.01),
        ),
        row(
            slider("hr_scale", words("Upscale by"), 1, 4, 2, 0.05),
            slider("hr_resize_x", words("Resize width to"), 0, _LARGEST_SIDE, 0, 8),
            slider("hr_resize_y", words("Resize height to"), 0, _LARGEST_SIDE, 0, 8),
        ),
        more,
        class_="easel-inner",
        data_when="enable_hr",
    )
    return switch("enable_hr", words("Hires. fix"), False), inner


def _refiner(app: Easel, words: Words, first: Mapping[str, Any]) -> tuple[Html, ...]:
    """Another checkpoint for the last steps."""
    inner = row(
        _list("refiner_checkpoint", words("Checkpoint"), choices.checkpoints(app), first),
        slider("refiner_switch_at", words("Switch at"), 0.01, 1, 0.8, 0.01),
        class_="easel-inner",
    )
    return switch("enable_refiner", words("Refiner"), False), tag("div", inner, data_when="enable_refiner")


def _size(kind: Kind, words: Words, first: Mapping[str, Any]) -> Html:
    """Width and height, and how many pictures."""
    ratios = (tag("option", one, value="" if one == "Aspect" else one) for one in (words("Aspect"), *_RATIOS))
    tools = [
        tool("⇅", words("Swap width and height"), id=f"{kind}_swap", data_swap=True),
        tag("select", *ratios, data_aspect=True, aria_label=words("Aspect"), id=f"{kind}_aspect"),
        tool("⊡", words("The size that the checkpoint was made for"), id=f"{kind}_native", data_act="native"),
    ]
    if kind == "img2img":
        tools.append(tool("▣", words("The size of the picture"), id="img2img_measure", data_act="measure"))
    sides = [
        slider("width", words("Width"), 64, _LARGEST_SIDE, first["width"], 8),
        slider("height", words("Height"), 64, _LARGEST_SIDE, first["height"], 8),
    ]
    counts = [
        slider("n_iter", words("Batch count"), 1, 100, 1, 1),
        slider("batch_size", words("Batch size"), 1, 16, 1, 1),
    ]
    return tag(
        "div",
        tag("div", *sides),
        tag("div", *tools, class_="easel-smalls"),
        tag("div", *counts),
        class_="easel-size",
    )


def _start(words: Words, first: Mapping[str, Any]) -> tuple[Html, ...]:
    """How the picture comes to the size, how much of it is made anew, and what a mask means."""
    masks = tag(
        "div",
        row(
            slider("mask_blur", words("Mask blur"), 0, 64, 4, 1),
            slider("inpaint_full_res_padding", words("Only masked padding, pixels"), 0, 256, 32, 4),
        ),
        row(
            radio("inpainting_mask_invert", words("Mask mode"), _numbered(words, _MASK_MODES), "0"),
            radio("inpaint_full_res", words("Inpaint area"), [(words(one), said) for one, said in _AREAS], "false"),
        ),
        radio("inpainting_fill", words("Masked content"), _numbered(words, _MASKED_CONTENTS), "1"),
        class_="easel-masking",
    )
    by = tag("div", slider("scale", words("Scale"), 0.05, 4, 1, 0.05), data_when="resize=by")
    ways = [(words("Resize to"), "to"), (words("Resize by"), "by")]
    return (
        row(radio("resize", words("Size of the result"), ways, "to"), by),
        radio("resize_mode", words("Resize mode"), _numbered(words, _RESIZE_MODES), "0"),
        slider("denoising_strength", words("Denoising strength"), 0, 1, first["denoising_strength"], 0.01),
        masks,
    )


def _seed(kind: Kind, words: Words, first: Mapping[str, Any]) -> tuple[Html, ...]:
    """Seed: random, the shown picture's, and variations."""
    draw, same = words("A new seed for every picture (-1)"), words("The seed of the picture that is shown")

    def tools(name: str) -> tuple[Html, Html]:
        return (
            tool("⚄", draw, id=f"{kind}_random_{name}", data_random=name),
            tool("♻", same, id=f"{kind}_reuse_{name}", data_reuse=name, data_kind=kind),
        )

    seed = row(number("seed", words("Seed"), -1), *tools("seed"), switch("extra_seed", words("Extra"), False))
    inner = tag(
        "div",
        row(
            number("subseed", words("Variation seed"), -1),
            *tools("subseed"),
            slider("subseed_strength", words("Variation strength"), 0, 1, 0, 0.01),
        ),
        row(
            slider("seed_resize_from_w", words("Resize seed from width"), 0, _LARGEST_SIDE, 0, 8),
            slider("seed_resize_from_h", words("Resize seed from height"), 0, _LARGEST_SIDE, 0, 8),
        ),
        class_="easel-inner",
        data_when="extra_seed",
    )
    return seed, inner


def _list(name: str, label: str, offered: list[str], first: Mapping[str, Any]) -> Html:
    return pick(name, label, [(one, one) for one in offered], first[name])


def _numbered(words: Words, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(words(name), str(number)) for number, name in enumerate(names)]


_MASK_MODES = ("Inpaint masked", "Inpaint not masked")
_AREAS = (("Whole picture", "false"), ("Only masked", "true"))
_FIRST = ("steps", "cfg_scale", "sampler_name", "scheduler", "width", "height")  # what suits the checkpoint
_DEFAULTS: Mapping[str, Any] = {
    "n_iter": 1, "batch_size": 1, "seed": -1, "extra_seed": False, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_w": 0, "seed_resize_from_h": 0, "enable_refiner": False, "refiner_switch_at": 0.8,
}  # fmt: skip
_OWN: Mapping[Kind, Mapping[str, Any]] = {
    "txt2img": {
        "enable_hr": False, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "denoising_strength": 0.7,
        "hr_scale": 2, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": SAME_CHECKPOINT,
        "hr_sampler_name": SAME_SAMPLER, "hr_scheduler": SAME_SCHEDULER, "hr_prompt": "", "hr_negative_prompt": "",
    },
    "img2img": {
        "resize": "to", "scale": 1, "resize_mode": 0, "denoising_strength": 0.75, "mask_blur": 4,
        "inpaint_full_res_padding": 32, "inpainting_mask_invert": 0, "inpaint_full_res": False, "inpainting_fill": 1,
    },
}  # fmt: skip
_BEHIND: Mapping[str, tuple[str, ...]] = {
    "enable_hr": tuple(name for name in _OWN["txt2img"] if name.startswith("hr_")),
    "enable_refiner": ("refiner_checkpoint", "refiner_switch_at"),
    "extra_seed": ("subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h"),
}
_SWITCHES = ("enable_refiner", "extra_seed", "resize", "scale")  # no fields of the request themselves


def switches(fields: Mapping[str, Any]) -> dict[str, bool]:
    """How the switches stand for the fields of a request."""
    refined = bool(fields.get("refiner_checkpoint"))
    varied = (fields.get("subseed_strength") or 0) > 0 or (fields.get("seed_resize_from_w") or 0) > 0
    return {"enable_hr": bool(fields.get("enable_hr")), "enable_refiner": refined, "extra_seed": varied}
