"""Every key of a unit, today's spelling and old ones."""

from __future__ import annotations

from typing import Any

import pytest
from easel_extensions.controlnet.units import Unit, Units
from pydantic import ValidationError


def test_defaults() -> None:
    unit = Unit.model_validate({})
    assert (unit.enabled, unit.module, unit.model, unit.weight) == (True, "none", None, 1.0)
    assert (unit.resize_mode, unit.control_mode, unit.hr_option) == ("Crop and Resize", "Balanced", "Both")
    assert (unit.processor_res, unit.threshold_a, unit.threshold_b) == (-1, -1, -1)
    assert (unit.guidance_start, unit.guidance_end, unit.pixel_perfect) == (0.0, 1.0, False)
    assert unit.pictures() == []
    assert list(unit.without_effect()) == []


@pytest.mark.parametrize(
    ("sent", "field", "value"),
    [
        ({"lowvram": True}, "low_vram", True),
        ({"guidance": 0.5}, "guidance_end", 0.5),
        ({"input_image": "x"}, "image", "x"),
        ({"image_link": "http://a/b.png"}, "image", "http://a/b.png"),
        ({"image_link": "http://a/b.png", "image": ""}, "image", "http://a/b.png"),
        ({"mask_image": "x"}, "mask", "x"),
        ({"image": ""}, "image", None),
        ({"processor_res": None, "weight": None}, "processor_res", -1),
        ({"module": "None"}, "module", "none"),
        ({"resize_mode": 0}, "resize_mode", "Just Resize"),
        ({"resize_mode": 1}, "resize_mode", "Crop and Resize"),
        ({"resize_mode": 2}, "resize_mode", "Resize and Fill"),
        ({"resize_mode": 3}, "resize_mode", "Just Resize"),
        ({"resize_mode": "Inner Fit (Scale to Fit)"}, "resize_mode", "Crop and Resize"),
        ({"resize_mode": "Scale to Fit (Inner Fit)"}, "resize_mode", "Crop and Resize"),
        ({"resize_mode": "Outer Fit (Shrink to Fit)"}, "resize_mode", "Resize and Fill"),
        ({"resize_mode": "Envelope (Outer Fit)"}, "resize_mode", "Resize and Fill"),
        ({"control_mode": 0}, "control_mode", "Balanced"),
        ({"control_mode": 1}, "control_mode", "My prompt is more important"),
        ({"control_mode": 2}, "control_mode", "ControlNet is more important"),
        ({"weight": 0}, "weight", 0.0),
        ({"weight": 2}, "weight", 2.0),
        ({"hr_option": "Low res only"}, "hr_option", "Low res only"),
        ({"advanced_weighting": [0, 1]}, "advanced_weighting", [0.0, 1.0]),
    ],
)
def test_spellings(sent: dict[str, Any], field: str, value: object) -> None:
    unit = Unit.model_validate(sent)
    assert {**dict(unit), **(unit.model_extra or {})}[field] == value


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"weight": 2.1}, "less than or equal to 2"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"guidance_start": 0.8, "guidance_end": 0.2}, "guidance_start (0.8) is after guidance_end (0.2)"),
        ({"guidance_end": 1.1}, "less than or equal to 1"),
        ({"resize_mode": "zzz"}, "'Just Resize', 'Crop and Resize' or 'Resize and Fill'"),
        ({"resize_mode": 7}, "'Just Resize'"),
        ({"resize_mode": True}, "'Just Resize'"),
        ({"control_mode": 3}, "'Balanced'"),
        ({"hr_option": "both"}, "'Both'"),
        ({"processor_res": "big"}, "valid integer"),
        ({"image": "a", "input_image": "b"}, "input_image and image say the same"),
        ({"mask": "a", "mask_image": "b"}, "mask_image and mask say the same"),
        ({"ipadapter_input": "AAAA"}, "IP-adapters are not available"),
        ("canny", "a unit is an object"),
    ],
)
def test_what_is_refused(sent: Any, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Unit.model_validate(sent)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("image", "mask", "pairs"),
    [
        ("a", None, [("a", None)]),
        ("a", "m", [("a", "m")]),
        ({"image": "a"}, None, [("a", None)]),
        ({"image": "a", "mask": None}, None, [("a", None)]),
        ({"image": "a", "mask": "m"}, None, [("a", "m")]),
        (["a", "m"], None, [("a", "m")]),
        ([{"image": "a", "mask": "m"}, {"image": "b"}], None, [("a", "m"), ("b", None)]),
    ],
)
def test_forms_of_a_picture(image: Any, mask: str | None, pairs: list[Any]) -> None:
    assert Unit.model_validate({"image": image, "mask": mask}).pictures() == pairs


@pytest.mark.parametrize("image", [1, [], ["a"], ["a", "b", "c"], [1, 2], {"mask": "m"}])
def test_what_is_no_form_of_a_picture(image: Any) -> None:
    with pytest.raises(ValueError, match="not a form a picture may have"):
        Unit.model_validate({"image": image}).pictures()


def test_keys_without_effect_are_told_when_they_say_something() -> None:
    quiet = {"low_vram": False, "input_mode": "simple", "batch_images": "", "output_dir": "", "loopback": False}
    assert list(Unit.model_validate(quiet).without_effect()) == []
    loud = {
        "low_vram": True,
        "input_mode": "batch",
        "output_dir": "x",
        "loopback": True,
        "guessmode": True,
        "wieght": 1,
    }
    told = dict(Unit.model_validate(loud).without_effect())
    assert set(told) == set(loud)
    assert told["wieght"] == "unknown key; did you mean weight?"


def test_units_keep_their_places() -> None:
    units = Units.model_validate({"units": [{"enabled": False}, None, {"module": "canny"}]})
    assert [(place, unit.module) for place, unit in units.enabled()] == [(2, "canny")]
