from __future__ import annotations

import threading
from io import BytesIO
from typing import Any

import pytest
from easel_extensions.xyz_plot.axes import axes_of
from easel_extensions.xyz_plot.values import read, split
from PIL import Image as Pillow

from easel import BadRequest, Hires, InitImages, NotAvailable, UnknownName, encoded

Generate = Any
App = Any
TITLE = "x/y/z plot"


def cells(app: App) -> list[Any]:
    return [call.arguments["plan"] for call in app.engine.called("denoise")]


def plot(**arguments: Any) -> dict[str, Any]:
    return {TITLE: {"x_type": "Nothing", **arguments}}


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("1, 2,3", "int", [1, 2, 3]),
        ("1-5", "int", [1, 2, 3, 4, 5]),
        ("1-10 (+4), 99", "int", [1, 5, 9, 99]),
        ("1-10 [4]", "int", [1, 4, 7, 10]),
        ("-3", "int", [-3]),
        ("0.5-1 (+0.25)", "float", [0.5, 0.75, 1.0]),
        ("0-1 [3]", "float", [0.0, 0.5, 1.0]),
        ('"a, b",c', "text", ["a, b", "c"]),
        ("a,b", "order", [("a", "b"), ("b", "a")]),
    ],
)
def test_values(text: str, kind: Any, values: list[Any]) -> None:
    assert read(split(text), kind, "f", lambda count: None) == values


def test_types_are_counted_in_a1111s_order() -> None:
    txt2img, img2img = ([axis.label for axis in axes_of(tab)] for tab in ("txt2img", "img2img"))
    assert (txt2img[4], txt2img[11], txt2img[29], len(txt2img)) == ("Steps", "Checkpoint name", "VAE", 42)
    assert (img2img[6], img2img[27], len(img2img)) == ("Image CFG Scale", "Cond. Image Mask Weight", 41)


def test_a1111s_positional_arguments(easel_app: App, easel_generate: Generate) -> None:
    arguments = [4, "1,2", [], 6, "3, 5, 7", [], 0, "", [], True, True, True, False, False, False, False, 4, False]
    result = easel_generate("a fox", scripts={TITLE: arguments})
    made = {(plan.steps, plan.request.cfg_scale) for plan in cells(easel_app)}
    assert made == {(steps, scale) for steps in (1, 2) for scale in (3.0, 5.0, 7.0)}
    assert [image.kind for image in result.images] == ["grid", "grid", *["result"] * 6]
    grid = Pillow.open(BytesIO(result.images[1].data))
    assert grid.width == 2 * 64 + 4 + 48
    assert grid.height > 3 * 64 + 8
    assert 'Script: X/Y/Z plot, X Type: Steps, X Values: "1,2", Y Type: CFG Scale' in result.images[0].infotext
    assert [("Steps: 1," in image.infotext, image.infotext.count("CFG scale: 3")) for image in result.images[2:4]] == [
        (True, 1),
        (False, 1),
    ]
    assert result.info["all_seeds"] == [1] * 6


def test_without_legend_and_cells_there_is_the_bare_grid(easel_generate: Generate) -> None:
    (image,) = easel_generate("", scripts=plot(x_type="Seed", x_values="1-3", draw_legend=False)).images
    assert Pillow.open(BytesIO(image.data)).size == (192, 64)


@pytest.mark.parametrize(
    ("label", "values", "found"),
    [
        ("Prompt S/R", "fox,cat", lambda plan: plan.request.prompt),
        ("Prompt order", "red,fox", lambda plan: plan.request.prompt),
        ("Sampler", "Euler,DDIM", lambda plan: plan.sampler),
        ("Schedule type", "Karras,Simple", lambda plan: plan.scheduler),
        ("Var. strength", "0,0.5", lambda plan: plan.request.subseed_strength),
        ("Clip skip", "1,2", lambda plan: plan.request.options.CLIP_stop_at_last_layers),
        ("Eta", "0,1", lambda plan: plan.request.eta),
        ("RNG source", "CPU,NV", lambda plan: plan.request.options.randn_source),
        ("Size", "64x128,128x64", lambda plan: (plan.width, plan.height)),
        ("SGM noise multiplier", "True,False", lambda plan: plan.request.options.sgm_noise_multiplier),
        ("VAE", "None,Automatic", lambda plan: plan.request.vae),
    ],
)
def test_axes(easel_app: App, easel_generate: Generate, label: str, values: str, found: Any) -> None:
    easel_generate("a red fox", scripts=plot(y_type=label, y_values=values))
    assert len({found(plan) for plan in cells(easel_app)}) == 2


def test_axes_of_the_hires_pass_and_of_img2img(easel_app: App, easel_generate: Generate) -> None:
    easel_generate(
        "", hires=Hires(), scripts=plot(x_type="Hires steps", x_values="2,3", y_type="Denoising", y_values="0.5")
    )
    assert sorted(plan.steps for plan in cells(easel_app)) == [2, 3, 4, 4]
    start = InitImages(pictures=(encoded(Pillow.new("RGB", (64, 64))),))
    easel_generate("", kind="img2img", init=start, scripts=plot(x_type="Denoising", x_values="0.2,0.4"))
    assert sorted(plan.denoising_strength for plan in cells(easel_app)[-2:]) == [0.2, 0.4]
    with pytest.raises(BadRequest, match="no hires pass"):
        easel_generate("", scripts=plot(x_type="Hires steps", x_values="2"))


def test_seeds(easel_app: App, easel_generate: Generate) -> None:
    easel_generate("", scripts=plot(x_type="Seed", x_values="5,-1,", y_type="Steps", y_values="1,2", vary_seeds_y=True))
    seeds = sorted({plan.pictures[0].seed for plan in cells(easel_app)})
    assert len(seeds) == 6
    assert seeds[:2] == [5, 6]


def test_the_dropdown_counts_unless_texts_are_asked_for(easel_app: App, easel_generate: Generate) -> None:
    chosen = {"x_type": "Sampler", "x_values": "DDIM", "x_values_dropdown": ["Euler", "LMS"]}
    easel_generate("", scripts=plot(**chosen))
    assert sorted(plan.sampler for plan in cells(easel_app)) == ["Euler", "LMS"]
    easel_generate("", scripts=plot(**chosen, csv_mode=True))
    assert cells(easel_app)[-1].sampler == "DDIM"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"x_type": "Seed", "x_values": "1-100", "y_type": "Steps", "y_values": "1-100"},
            BadRequest,
            "too many pictures",
        ),
        ({"x_type": "Seed", "x_values": "1-1000000000000"}, BadRequest, "too many pictures"),
        ({"x_type": "Prompt order", "x_values": ",".join("abcdefghijklmnopqrst")}, BadRequest, "too many pictures"),
        ({"x_type": "Steps", "x_values": "99999"}, BadRequest, "steps"),
        ({"x_type": "Steps", "x_values": "many"}, BadRequest, r"script_args\[1\]"),
        ({"y_type": "Size", "y_values": "90000x90000"}, BadRequest, "width"),
        ({"z_type": "Nope", "z_values": "1"}, UnknownName, r"script_args\[6\]"),
        ({"x_type": 99}, UnknownName, r"script_args\[0\]"),
        ({"x_type": "Steps", "x_values": ""}, BadRequest, "no values|missing"),
        ({"x_type": "Sampler", "x_values": "nope"}, UnknownName, "Sampler"),
        ({"x_type": "Checkpoint name", "x_values": "nope"}, UnknownName, "Checkpoint name"),
        ({"x_type": "Prompt S/R", "x_values": "wolf,cat"}, BadRequest, "wolf"),
        ({"x_type": "FP8 mode", "x_values": "Disable"}, NotAvailable, "FP8"),
        ({"x_type": "Face restore", "x_values": "True"}, NotAvailable, "Face restore"),
    ],
)
def test_what_cannot_be_plotted_is_refused_before_anything_runs(
    easel_app: App, easel_generate: Generate, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        easel_generate("a fox", scripts=plot(**arguments))
    assert easel_app.engine.calls == []


def test_an_interrupt_leaves_the_rest_of_the_grid_empty(easel_app: App, easel_generate: Generate) -> None:
    easel_app.engine.step_seconds = 0.01
    told: list[Any] = []

    def interrupt() -> None:
        while len(cells(easel_app)) < 9:
            threading.Event().wait(0.002)
        told.extend(job.progress for job in easel_app.jobs.running())
        easel_app.jobs.signal("interrupt")

    thread = threading.Thread(target=interrupt)
    thread.start()
    scripts = plot(x_type="Seed", x_values="1-60", include_lone_images=True)
    result = easel_generate("", scripts=scripts)
    thread.join()
    assert result.interrupted
    assert 9 <= len(cells(easel_app)) < 30
    assert len(result.images) == 1 + len(cells(easel_app))
    assert Pillow.open(BytesIO(result.images[0].data)).width == 60 * 64
    assert told[0].parts == 60
    assert 0 < told[0].fraction < 0.5
