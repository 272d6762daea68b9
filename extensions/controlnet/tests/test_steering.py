"""From units in a request, through the whole service, to what the engine is asked and what comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel import (
    BadRequest,
    EaselError,
    EncodedPicture,
    GenerationRequest,
    Hires,
    InitImages,
    Inpaint,
    NotAvailable,
    Options,
    ScriptCall,
    UnknownName,
)

from .conftest import CANNY, encoded

Steered = Callable[..., tuple[Any, Any]]


@pytest.fixture
def unit(drawing: Any) -> dict[str, Any]:
    return {"module": "canny", "model": CANNY, "image": encoded(drawing), "processor_res": 80}


def kinds(result: Any) -> list[str]:
    return [image.kind for image in result.images]


def pixels(image: Any) -> bytes:
    return Image.open(BytesIO(image.data)).tobytes()


def told(result: Any, item: str) -> list[tuple[str, str]]:
    return [(line.outcome, line.reason) for line in result.report if line.item == item]


def test_a_unit_becomes_a_control_and_its_map_comes_back(steered: Steered, unit: dict[str, Any], nets: Path) -> None:
    result, (passed,) = steered({**unit, "weight": 0.7, "guidance_start": 0.2, "guidance_end": 0.9}, width=96)
    (control,) = passed.controls
    assert control.model == str(nets / f"{CANNY}.safetensors")
    assert (control.weight, control.start, control.end) == (0.7, 0.2, 0.9)
    assert (control.soft_weights, control.on_cond_only, control.pooled) == (None, False, False)
    assert control.hint.shape == (64, 96, 3)
    assert set(np.unique(control.hint)) == {0.0, 1.0}
    assert kinds(result) == ["result", "control"]
    shown = np.asarray(Image.open(BytesIO(result.images[1].data)))
    assert np.array_equal(shown, (control.hint * 255).astype(np.uint8))
    assert result.images[1].infotext == ""
    assert 'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny, Weight: 0.7, ' in result.images[0].infotext
    assert "ControlNet 0" in result.info["extra_generation_params"]
    assert len(result.info["infotexts"]) == 1
    assert told(result, "controlnet[0]") == [("applied", f"canny with {CANNY}")]


def test_disabled_is_as_if_it_were_not_there(steered: Steered, easel_generate: Any, unit: dict[str, Any]) -> None:
    off, (passed,) = steered({**unit, "enabled": False, "model": "no such", "module": "nonsense"})
    without = easel_generate("a fox")
    assert pixels(off.images[0]) == pixels(without.images[0])
    assert (passed.controls, kinds(off), off.report) == ((), ["result"], without.report)
    on, _ = steered(unit)
    assert pixels(on.images[0]) != pixels(without.images[0])


@pytest.mark.parametrize(
    ("mode", "softened", "only"),
    [(0, False, False), ("My prompt is more important", True, False), ("ControlNet is more important", True, True)],
)
def test_control_modes(steered: Steered, unit: dict[str, Any], mode: Any, softened: bool, only: bool) -> None:
    _, (passed,) = steered({**unit, "control_mode": mode})
    (control,) = passed.controls
    assert (control.soft_weights is not None, control.on_cond_only) == (softened, only)
    if softened:
        assert control.soft_weights[12] == 1.0
        assert control.soft_weights[11] == 0.825


@pytest.mark.parametrize(
    "name", ["Control_V11p_SD15_Canny", f"{CANNY}.safetensors", f"{CANNY} [00000000]", "sd15_canny"]
)
def test_names_of_a_model(steered: Steered, unit: dict[str, Any], name: str) -> None:
    _, (passed,) = steered({**unit, "model": name})
    assert Path(passed.controls[0].model).stem == CANNY


def test_without_a_model_it_is_the_starters_own(steered: Steered, unit: dict[str, Any]) -> None:
    result, (passed,) = steered({**unit, "model": None})
    assert Path(passed.controls[0].model).parts[-2:] == ("starter", "controlnet")
    assert told(result, "controlnet[0]") == [("applied", "canny with starter-canny")]


def test_a_diffusers_folder_goes_by_its_own_name(
    easel_app: Any, easel_client: Any, steered: Steered, unit: dict[str, Any], nets: Path
) -> None:
    folder = nets / "styles" / "my.net"
    folder.mkdir(parents=True)
    (nets / f"{CANNY}.safetensors").rename(folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text("{}")
    assert "my.net" in easel_client.get("/controlnet/model_list").json()["model_list"]
    result, (passed,) = steered({**unit, "model": "my.net"})
    assert passed.controls[0].model == str(folder)
    assert told(result, "controlnet[0]") == [("applied", "canny with styles/my.net")]


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"model": "control_v11p_sd15_cany"}, UnknownName, rf"did you mean '{CANNY} \["),
        ({"model": "None"}, BadRequest, "a ControlNet is needed"),
        ({"model": "old_hed"}, BadRequest, "easel convert"),
        ({"module": "cany"}, UnknownName, "'canny'"),
        ({"module": "hed"}, NotAvailable, "models/Annotators/ControlNetHED.safetensors"),
        ({"module": "ip-adapter-auto"}, NotAvailable, "not available"),
        ({"weight": 2.1}, BadRequest, r"\[0\].weight.*less than or equal to 2"),
        ({"image": "/etc/passwd"}, BadRequest, r"controlnet\[0\].image: this is not a picture"),
        ({"image": 5}, BadRequest, "not a form a picture may have"),
        ({"image": "http://127.0.0.1:1/x.png"}, BadRequest, "not on the public internet"),
        ({"image_link": "http://localhost/x.png", "image": None}, BadRequest, "not on the public internet"),
        ({"output_dir": "../../etc"}, EaselError, "leaves its folder"),
        ({"advanced_weighting": "all"}, BadRequest, "valid list"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(
    steered: Steered, unit: dict[str, Any], changed: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        steered({**unit, **changed})


def test_more_units_than_allowed_are_refused(steered: Steered, unit: dict[str, Any]) -> None:
    _, (passed,) = steered(unit, unit, {**unit, "module": "invert"})
    assert len(passed.controls) == 3
    steered(unit, unit, unit, {**unit, "enabled": False})
    with pytest.raises(BadRequest, match=r"controlnet\[3\]: too many units"):
        steered(unit, unit, unit, unit)


def test_one_unit_need_not_be_in_a_list(easel_app: Any, easel_generate: Any, nets: Path, unit: dict[str, Any]) -> None:
    easel_generate(scripts={"ControlNet": unit})
    assert len(easel_app.engine.called("denoise")[0].arguments["plan"].conditioning.controls) == 1
    with pytest.raises(BadRequest, match="a unit is an object"):
        easel_generate(scripts={"controlnet": ["canny"]})


def test_without_a_picture_a_unit_is_left_out_with_a_word(steered: Steered, unit: dict[str, Any]) -> None:
    result, (passed,) = steered({**unit, "image": ""})
    assert (passed.controls, kinds(result)) == ((), ["result"])
    assert told(result, "controlnet[0]") == [("ignored", "there is no picture: send `image`")]
    assert "ControlNet" not in result.images[0].infotext
    with pytest.raises(BadRequest, match="would be ignored"):
        steered({**unit, "image": ""}, strict=True)


def test_values_out_of_range_are_the_defaults_with_a_word(steered: Steered, unit: dict[str, Any]) -> None:
    result, _ = steered({**unit, "processor_res": -100, "threshold_a": 999, "threshold_b": -1})
    assert told(result, "controlnet[0].processor_res")[0][1].endswith("512 was used")
    assert told(result, "controlnet[0].threshold_a")[0][1].endswith("100 was used")
    assert told(result, "controlnet[0].threshold_b") == []
    with pytest.raises(BadRequest, match=r"controlnet\[0\].low_vram would be ignored"):
        steered({**unit, "low_vram": True}, strict=True)


def test_options_and_keys_that_keep_maps_back(steered: Steered, unit: dict[str, Any]) -> None:
    result, _ = steered({**unit, "save_detected_map": False})
    assert kinds(result) == ["result"]
    result, _ = steered(unit, options=Options(control_net_no_detectmap=True))
    assert kinds(result) == ["result"]


def test_one_map_for_all_batches_and_two_with_hires(steered: Steered, unit: dict[str, Any]) -> None:
    result, passes = steered(unit, n_iter=2, batch_size=2)
    assert kinds(result) == ["result"] * 4 + ["control"]
    assert len(passes) == 2
    result, (first, second) = steered({**unit, "hr_option": "High res only"}, hires=Hires(scale=1.5))
    assert [Image.open(BytesIO(image.data)).size for image in result.images] == [(96, 96), (96, 96), (64, 64)]
    assert (len(first.controls), len(second.controls)) == (0, 1)
    assert second.controls[0].soft_weights is not None  # canny is softened there
    _, (first, second) = steered({**unit, "hr_option": "Low res only"}, hires=Hires(scale=1.5))
    assert (len(first.controls), len(second.controls)) == (1, 0)


def test_a_mask_on_a_picture_is_a_scribble(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    mask = np.zeros_like(drawing)
    mask[30:50, 30:90] = 255
    plain = {**unit, "module": "none", "resize_mode": 0}
    _, (scribbled,) = steered({**plain, "mask": encoded(mask)}, width=120, height=80)
    assert np.array_equal(scribbled.controls[0].hint * 255, mask)
    _, (empty,) = steered({**plain, "mask_image": encoded(np.zeros_like(mask))}, width=120, height=80)
    ignoring = Options(controlnet_ignore_noninpaint_mask=True)
    _, (ignored,) = steered({**plain, "mask": encoded(mask)}, width=120, height=80, options=ignoring)
    for passed in (empty, ignored):
        assert np.array_equal(np.rint(passed.controls[0].hint * 255), drawing)
    with pytest.raises(BadRequest, match=r"controlnet\[0\].mask: another size than the picture's"):
        steered({**plain, "mask": encoded(mask[:40])})


def test_inpainting_hides_what_is_to_be_painted(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    mask = np.zeros_like(drawing)
    mask[:40] = 255
    inpaint = {**unit, "module": "inpaint_global_harmonious", "mask": encoded(mask)}
    result, (passed,) = steered(inpaint, width=120, height=80)
    hint = passed.controls[0].hint
    assert (hint[:40] == -1).all()
    assert np.array_equal(np.rint(hint[40:] * 255), drawing[40:])
    shown = Image.open(BytesIO(result.images[1].data))
    assert (shown.mode, shown.getchannel("A").getextrema()) == ("RGBA", (128, 255))
    only, _ = steered({**inpaint, "module": "inpaint_only"}, width=120, height=80)
    kept = np.asarray(Image.open(BytesIO(only.images[0].data)))
    assert np.array_equal(kept[60:], drawing[60:])
    assert not np.array_equal(kept[:30], drawing[:30])


def test_recolouring_keeps_the_lightness(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    result, _ = steered({**unit, "module": "recolor_intensity"}, width=120, height=80)
    made, shown = (np.asarray(Image.open(BytesIO(image.data)).convert("RGB")) for image in result.images)
    assert np.abs(made.max(axis=2).astype(int) - shown[..., 0]).max() <= 1


def test_a_reference_needs_no_model(steered: Steered, unit: dict[str, Any]) -> None:
    reference = {**unit, "module": "reference_only", "model": "None", "threshold_a": 0.3, "weight": 0.8}
    result, (passed,) = steered(reference, width=96)
    (one,) = passed.references
    assert (passed.controls, one.picture.shape, one.weight, one.fidelity) == ((), (64, 96, 3), 0.8, 0.3)
    assert kinds(result) == ["result", "control"]
    for mode, fidelity in ((1, 0.0), (2, 1.0)):
        _, (passed,) = steered({**reference, "control_mode": mode})
        assert passed.references[0].fidelity == fidelity


def test_kinds_of_reference(steered: Steered, unit: dict[str, Any]) -> None:
    for name, looks in (("reference_only", (1, 0)), ("reference_adain", (0, 1)), ("reference_adain+attn", (1, 1))):
        _, (passed,) = steered({**unit, "module": name, "model": None})
        assert (passed.references[0].attention, passed.references[0].statistics) == looks


def test_what_every_step_is_held_to(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    tile = {**unit, "module": "tile_colorfix+sharp", "threshold_a": 5, "threshold_b": 2, "weight": 0.5}
    _, (first, second) = steered(tile, hires=Hires(scale=1.5))
    assert [(one.holds[0].radius, one.holds[0].softened) for one in (first, second)] == [(5, 0.02), (10, 0.02)]
    assert (first.holds[0].weight, len(first.controls)) == (0.5, 1)
    _, (passed,) = steered({**unit, "module": "inpaint_only", "mask": encoded(drawing)}, width=120, height=80)
    assert set(np.unique(passed.holds[0].mask)) == {0.0, 1.0}
    assert passed.holds[0].picture.shape == (80, 120, 3)


def test_img2img_lends_its_picture(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    def picture(pixels: Any) -> EncodedPicture:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return EncodedPicture(file.getvalue())

    mask = np.zeros_like(drawing)
    mask[20:60, 40:80] = 255
    without = {key: value for key, value in unit.items() if key != "image"} | {"module": "none"}
    init = InitImages(pictures=(picture(drawing),))
    _, (passed,) = steered(without, kind="img2img", init=init, width=120, height=80)
    assert np.array_equal(np.rint(passed.controls[0].hint * 255), drawing)
    part = InitImages(pictures=(picture(drawing),), inpaint=Inpaint(mask=picture(mask), blur_x=0, blur_y=0))
    result, (passed,) = steered(without, kind="img2img", init=part, width=64, height=64)
    assert passed.crop is not None
    assert passed.controls[0].hint.shape == (64, 64, 3)
    assert [Image.open(BytesIO(image.data)).size for image in result.images] == [(120, 80), (64, 64)]
    _, (uncropped,) = steered(
        {**without, "inpaint_crop_input_image": False}, kind="img2img", init=part, width=64, height=64
    )
    assert not np.array_equal(uncropped.controls[0].hint, passed.controls[0].hint)
    harmonious, (passed,) = steered(
        {**without, "module": "inpaint_only"}, kind="img2img", init=part, width=64, height=64
    )
    assert (passed.controls[0].hint == -1).any()
    assert told(harmonious, "controlnet[0].module")[0][1].endswith("inpaint_global_harmonious was used")


def test_merge_makes_a_unit_of_each_picture(steered: Steered, unit: dict[str, Any]) -> None:
    merged = {**unit, "input_mode": "merge", "image": [{"image": unit["image"]}] * 2, "weight": 1.0}
    _, (passed,) = steered(merged)
    assert [control.weight for control in passed.controls] == [0.5, 0.5]
    with pytest.raises(BadRequest, match="one picture for a unit"):
        steered({**merged, "input_mode": "simple"})


def test_weights_by_layer_and_regions(steered: Steered, unit: dict[str, Any], drawing: Any) -> None:
    layers = [n / 12 for n in range(13)]
    _, (passed,) = steered({**unit, "advanced_weighting": layers, "effective_region_mask": encoded(drawing)})
    (control,) = passed.controls
    assert (control.weight, control.soft_weights) == (1.0, tuple(layers))
    assert (control.region.shape, control.region.max()) == ((80, 120), 1.0)


def test_pixel_perfect_looks_as_closely_as_the_result(steered: Steered, unit: dict[str, Any]) -> None:
    _, (coarse,) = steered({**unit, "processor_res": 64}, width=120, height=80)
    _, (perfect,) = steered({**unit, "processor_res": 64, "pixel_perfect": True}, width=120, height=80)
    _, (right,) = steered({**unit, "processor_res": 80}, width=120, height=80)
    assert np.array_equal(perfect.controls[0].hint, right.controls[0].hint)
    assert not np.array_equal(perfect.controls[0].hint, coarse.controls[0].hint)


def test_a_map_is_made_once_for_a_job(easel_app: Any, steered: Steered, unit: dict[str, Any], monkeypatch: Any) -> None:
    from easel_extensions.controlnet import maps

    made: list[int] = []
    plain = maps.RUN["canny"]
    monkeypatch.setattr(maps, "RUN", {**maps.RUN, "canny": lambda *given: made.append(1) or plain(*given)})
    steered(unit, n_iter=3)
    assert len(made) == 1


def test_a_link_is_what_its_bytes_are(easel_app: Any, steered: Steered, unit: dict[str, Any], monkeypatch: Any) -> None:
    """The fetcher itself has its own tests; here it answers with what is sent as base64 otherwise."""
    from easel_extensions.controlnet import steering

    fetched: list[str] = []
    plain = steering.picture_bytes

    def fetch(fetcher: Any, text: Any, *, field: str) -> bytes:
        if not text.startswith("https://"):
            return plain(fetcher, text, field=field)
        fetched.append(f"{field} {text}")
        return base64.b64decode(unit["image"])

    monkeypatch.setattr(steering, "picture_bytes", fetch)
    linked = {**{key: value for key, value in unit.items() if key != "image"}, "image_link": "https://x/y.png"}
    by_link, _ = steered(linked, n_iter=2)
    as_bytes, _ = steered(unit, n_iter=2)
    assert [pixels(image) for image in by_link.images] == [pixels(image) for image in as_bytes.images]
    assert fetched == ["controlnet[0].image https://x/y.png"]


def test_videos_are_not_made(easel_generate: Any) -> None:
    with pytest.raises(NotAvailable, match="controlnet m2m"):
        easel_generate(scripts={"controlnet m2m": []})


def test_the_request_can_be_sent_between_processes(unit: dict[str, Any]) -> None:
    request = GenerationRequest(always_on=(ScriptCall("controlnet", (unit,)),))
    assert json.loads(json.dumps(request.always_on[0].arguments)) == [unit]
