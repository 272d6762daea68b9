"""The settings of a generation as components, each under the name of the request's field it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from gradio.components import Component

from easel.ui import choices

if TYPE_CHECKING:
    from easel.ui.page import Page

Kind = Literal["txt2img", "img2img"]
SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULER = "Use same checkpoint", "Use same sampler", "Use same scheduler"
_LARGEST_SIDE = 2048
_RATIOS = ("1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16")
slider = partial(gr.Slider, buttons=[])  # without a reset button
_SHOW = "(on) => ({__type__: 'update', visible: on})"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}


@dataclass(frozen=True, slots=True)
class Panel:
    """The components by name. Names that are no field of the request are `switches`: what they hide is not sent."""

    kind: Kind
    fields: dict[str, Component] = field(default_factory=dict)

    def add(self, name: str, component: Component) -> Component:
        """Remember a component under its field's name."""
        self.fields[name] = component
        return component

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of the components, by name."""
        return dict(zip(self.fields, values, strict=True))


def build_sampling(page: Page, panel: Panel, first: Mapping[str, Any]) -> None:
    """Sampler, schedule, steps."""
    _ = page.text
    with gr.Row(elem_classes="easel-row"):
        panel.add(
            "sampler_name",
            gr.Dropdown(choices.samplers(), value=first["sampler_name"], label=_("Sampling method"), min_width=130),
        )
        panel.add(
            "scheduler",
            gr.Dropdown(choices.schedulers(), value=first["scheduler"], label=_("Schedule type"), min_width=130),
        )
        panel.add("steps", slider(1, 150, first["steps"], step=1, label=_("Sampling steps"), min_width=180))


def build_hires(page: Page, panel: Panel) -> None:
    """The hires pass, shown when it is switched on."""
    _ = page.text
    enabled = gr.Checkbox(False, label=_("Hires. fix"), elem_id="txt2img_hr", elem_classes="easel-switch")
    with gr.Group(visible=False) as group, gr.Column(elem_classes="easel-inner"):
        with gr.Row(elem_classes="easel-row"):
            panel.add(
                "hr_upscaler", gr.Dropdown(choices.hires(page.app), value="Latent", label=_("Upscaler"), min_width=130)
            )
            panel.add("hr_second_pass_steps", slider(0, 150, 0, step=1, label=_("Hires steps"), min_width=130))
            panel.add("denoising_strength", slider(0, 1, 0.7, step=0.01, label=_("Denoising strength"), min_width=130))
        with gr.Row(elem_classes="easel-row"):
            panel.add("hr_scale", slider(1, 4, 2, step=0.05, label=_("Upscale by"), min_width=130))
            panel.add("hr_resize_x", slider(0, _LARGEST_SIDE, 0, step=8, label=_("Resize width to"), min_width=130))
            panel.add("hr_resize_y", slider(0, _LARGEST_SIDE, 0, step=8, label=_("Resize height to"), min_width=130))
        with gr.Accordion(_("Checkpoint, sampler and prompts of the hires pass"), open=False):
            with gr.Row(elem_classes="easel-row"):
                named = [SAME_CHECKPOINT, *choices.checkpoints(page.app)]
                panel.add(
                    "hr_checkpoint_name", gr.Dropdown(named, value=named[0], label=_("Checkpoint"), min_width=130)
                )
                samplers = [SAME_SAMPLER, *choices.samplers()]
                panel.add(
                    "hr_sampler_name", gr.Dropdown(samplers, value=samplers[0], label=_("Sampler"), min_width=130)
                )
                schedulers = [SAME_SCHEDULER, *choices.schedulers()]
                panel.add(
                    "hr_scheduler",
                    gr.Dropdown(schedulers, value=schedulers[0], label=_("Schedule type"), min_width=130),
                )
            empty = _("empty: as the first pass")
            panel.add("hr_prompt", gr.Textbox(lines=2, label=_("Hires prompt"), placeholder=empty))
            panel.add("hr_negative_prompt", gr.Textbox(lines=2, label=_("Hires negative prompt"), placeholder=empty))
    panel.add("enable_hr", enabled)
    enabled.change(None, enabled, group, js=_SHOW, **_QUIET)


def build_refiner(page: Page, panel: Panel) -> None:
    """Another checkpoint for the last steps."""
    _ = page.text
    enabled = gr.Checkbox(False, label=_("Refiner"), elem_classes="easel-switch")
    with gr.Group(visible=False) as group, gr.Row(elem_classes="easel-row easel-inner"):
        found = choices.checkpoints(page.app)
        panel.add("refiner_checkpoint", gr.Dropdown(found, value=found[0], label=_("Checkpoint")))
        panel.add("refiner_switch_at", slider(0.01, 1, 0.8, step=0.01, label=_("Switch at")))
    panel.add("enable_refiner", enabled)
    enabled.change(None, enabled, group, js=_SHOW, **_QUIET)


def build_size(page: Page, panel: Panel, first: Mapping[str, Any]) -> gr.Column:
    """Width and height, and how many pictures; answers the column of the small buttons, for more of them."""
    _ = page.text
    with gr.Row(elem_classes="easel-row"):
        with gr.Column(scale=4, min_width=200):
            width = panel.add("width", slider(64, _LARGEST_SIDE, first["width"], step=8, label=_("Width")))
            height = panel.add("height", slider(64, _LARGEST_SIDE, first["height"], step=8, label=_("Height")))
        tools = gr.Column(scale=0, min_width=84, elem_classes="easel-tools")
        with tools:
            swap = page.tool("⇅", f"{panel.kind}_swap", "Swap width and height")
            ratios = [(_("Aspect"), ""), *((ratio, ratio) for ratio in _RATIOS)]
            aspect = gr.Dropdown(
                ratios, value="", show_label=False, container=False, min_width=84, filterable=False,
                elem_id=f"{panel.kind}_aspect", elem_classes="easel-aspect",
            )  # fmt: skip
            native = page.tool("⊡", f"{panel.kind}_native", "The size that the checkpoint was made for")
        with gr.Column(scale=2, min_width=130):
            panel.add("n_iter", slider(1, 100, 1, step=1, label=_("Batch count")))
            panel.add("batch_size", slider(1, 16, 1, step=1, label=_("Batch size")))
    sides = [width, height]
    swap.click(None, sides, sides, js="(w, h) => [h, w]", **_QUIET)
    aspect.input(None, [aspect, *sides], [*sides, aspect], js=_ASPECT, **_QUIET)

    def native_size(title: str | None) -> tuple[int, int]:
        found = page.app.store.checkpoint(title) if title else page.app.chosen_checkpoint()
        return choices.native_size(found)

    native.click(native_size, page.checkpoint, sides, **_QUIET)
    return tools


# Keeps the number of pixels about as it is.
_ASPECT = """(ratio, w, h) => {
  if (!ratio) return [w, h, ''];
  const [a, b] = ratio.split(':').map(Number), area = w * h, side = (x) => Math.max(64, Math.round(x / 8) * 8);
  return [side(Math.sqrt(area * a / b)), side(Math.sqrt(area * b / a)), ''];
}"""


def build_resizing(page: Page, panel: Panel) -> None:
    """How the picture comes to the size, and how much of it is made anew."""
    _ = page.text
    modes = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
    with gr.Row(elem_classes="easel-row"):
        named = [(_(name), number) for number, name in enumerate(modes)]
        panel.add("resize_mode", gr.Radio(named, value=0, label=_("Resize mode"), min_width=280))
    strength = slider(0, 1, 0.75, step=0.01, label=_("Denoising strength"), elem_id="img2img_denoising_strength")
    panel.add("denoising_strength", strength)


def build_masking(page: Page, panel: Panel) -> None:
    """What the mask means."""
    _ = page.text
    with gr.Row(elem_classes="easel-row"):
        panel.add("mask_blur", slider(0, 64, 4, step=1, label=_("Mask blur"), min_width=140))
        padding = slider(0, 256, 32, step=4, label=_("Only masked padding, pixels"), min_width=140)
        panel.add("inpaint_full_res_padding", padding)
    with gr.Row(elem_classes="easel-row"):
        named = [(_("Inpaint masked"), 0), (_("Inpaint not masked"), 1)]
        panel.add("inpainting_mask_invert", gr.Radio(named, value=0, label=_("Mask mode"), min_width=140))
        areas = [(_("Whole picture"), False), (_("Only masked"), True)]
        panel.add("inpaint_full_res", gr.Radio(areas, value=False, label=_("Inpaint area"), min_width=140))
    contents = ("fill", "original", "latent noise", "latent nothing")
    filled = [(_(name), number) for number, name in enumerate(contents)]
    panel.add("inpainting_fill", gr.Radio(filled, value=1, label=_("Masked content")))


def build_guidance(page: Page, panel: Panel, first: Mapping[str, Any]) -> None:
    """CFG scale."""
    panel.add("cfg_scale", slider(1, 30, first["cfg_scale"], step=0.5, label=page.text("CFG Scale")))


def build_seed(page: Page, panel: Panel) -> None:
    """Seed: random, the shown picture's, and variations."""
    _ = page.text
    kind = panel.kind
    with gr.Row(elem_classes="easel-row easel-seed"):
        seed = panel.add("seed", gr.Number(-1, precision=0, label=_("Seed"), elem_id=f"{kind}_seed", min_width=120))
        draw = page.tool("⚄", f"{kind}_random_seed", "A new seed for every picture (-1)")
        reuse = page.tool("♻", f"{kind}_reuse_seed", "The seed of the picture that is shown")
        extra = gr.Checkbox(False, label=_("Extra"), scale=0, min_width=80, container=False)
    with gr.Group(visible=False) as group, gr.Column(elem_classes="easel-inner"):
        with gr.Row(elem_classes="easel-row easel-seed"):
            subseed = panel.add("subseed", gr.Number(-1, precision=0, label=_("Variation seed"), min_width=120))
            draw_sub = page.tool("⚄", f"{kind}_random_subseed", "A new seed for every picture (-1)")
            reuse_sub = page.tool("♻", f"{kind}_reuse_subseed", "The seed of the picture that is shown")
            panel.add("subseed_strength", slider(0, 1, 0, step=0.01, label=_("Variation strength"), min_width=130))
        with gr.Row(elem_classes="easel-row"):
            for side, label in (("w", _("Resize seed from width")), ("h", _("Resize seed from height"))):
                panel.add(f"seed_resize_from_{side}", slider(0, _LARGEST_SIDE, 0, step=8, label=label))
    panel.add("extra_seed", extra)
    extra.change(None, extra, group, js=_SHOW, **_QUIET)
    for button, target in ((draw, seed), (draw_sub, subseed)):
        button.click(None, None, target, js="() => -1", **_QUIET)
    reuse.click(None, seed, seed, js=f"(now) => easel.seed('{kind}', 'seed', now)", **_QUIET)
    reuse_sub.click(None, subseed, subseed, js=f"(now) => easel.seed('{kind}', 'subseed', now)", **_QUIET)


_BEHIND: Mapping[str, tuple[str, ...]] = {
    "enable_hr": (
        "hr_upscaler", "hr_second_pass_steps", "hr_scale", "hr_resize_x", "hr_resize_y", "hr_checkpoint_name",
        "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt",
    ),
    "enable_refiner": ("refiner_checkpoint", "refiner_switch_at"),
    "extra_seed": ("subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h"),
}  # fmt: skip
_SWITCHES = ("enable_refiner", "extra_seed")  # no fields of the request themselves


def sent(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """What of the components' values goes into the request: nothing that a switch leaves out."""
    hidden = {name for switch, names in _BEHIND.items() if not values.get(switch) for name in names}
    if kind == "txt2img" and not values.get("enable_hr"):
        hidden.add("denoising_strength")
    return {name: value for name, value in values.items() if name not in hidden and name not in _SWITCHES}


def switches(fields: Mapping[str, Any]) -> dict[str, bool]:
    """How the switches stand for the fields of a request."""
    refined = bool(fields.get("refiner_checkpoint"))
    varied = (fields.get("subseed_strength") or 0) > 0 or (fields.get("seed_resize_from_w") or 0) > 0
    return {"enable_hr": bool(fields.get("enable_hr")), "enable_refiner": refined, "extra_seed": varied}
