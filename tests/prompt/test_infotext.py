"""Infotext: writing, reading, and the options it asks for."""

import json
import random
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from easel.prompt.infotext import hash_list, parse_infotext, quote, unquote, write_infotext
from easel.prompt.overrides import OPTIONS, option_overrides
from easel.prompt.styles import Style

GOLDENS = Path(__file__).parents[1] / "goldens" / "parts"
NOW: dict[str, object] = {
    **dict.fromkeys(OPTIONS.values(), False),
    "CLIP_stop_at_last_layers": 1.0,
    "eta_noise_seed_delta": 0,
    "randn_source": "GPU",
    "emphasis": "Original",
    "sd_vae_encode_method": "Full",
    "sd_vae_decode_method": "Full",
    "fp8_storage": "Disable",
    "sigma_min": 0.0,
    "sigma_max": 0.0,
    "rho": 0.0,
    "sd_model_checkpoint": None,
    "disable_weights_auto_swap": True,
}


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", golden("infotext_parse"), ids=lambda case: case["text"][:60])
def test_reading_is_a1111s(case):
    parameters = parse_infotext(case["text"])
    assert parameters == case["parsed"]
    assert list(parameters) == list(case["parsed"])
    assert [list(override) for override in option_overrides(parameters, NOW)] == case["overrides"]


@pytest.mark.parametrize("case", golden("infotext_quote"), ids=lambda case: str(case["in"]))
def test_quoting_is_a1111s(case):
    assert quote(case["in"]) == case["quoted"]
    assert type(quote(case["in"])) is type(case["quoted"])
    assert unquote(str(case["quoted"])) == str(case["in"])


def test_writing():
    parameters = {
        "Steps": 8,
        "CFG scale": 5.0,
        "Size": "96x64",
        "Hires prompt": None,
        "TI hashes": "tinyemb: eb60baa0d073",
        "Version": "1.10.1",
        "Extra": "Extra",
    }
    line = 'Steps: 8, CFG scale: 5.0, Size: 96x64, TI hashes: "tinyemb: eb60baa0d073", Version: 1.10.1, Extra'
    assert write_infotext("a fox", "dull", parameters) == f"a fox\nNegative prompt: dull\n{line}"
    assert write_infotext("", "", parameters) == line
    assert write_infotext("a fox", "", {}) == "a fox"


def test_what_is_written_is_read():
    draw = random.Random(5)
    for _ in range(200):
        # a quote mark at the start is the one thing that A1111's quoting loses
        values = {f"Key {name}": "x" + "".join(draw.choices('ab ,:"\\\n日', k=8)) + "x" for name in "abcd"}
        parameters = parse_infotext(write_infotext("p\nq", "n", values))
        assert (parameters["Prompt"], parameters["Negative prompt"]) == ("p\nq", "n")
        assert {key: parameters[key] for key in values} == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Steps: 1, Sampler: X, Seed: 2", {"Steps": "1", "Prompt": ""}),
        ("p\nSteps: 1, Sampler: , Seed: 2, A1: 2x3", {"Steps": "1", "A1-1": "2", "A1-2": "3"}),
        ('p\nSteps: 1, Note: "unclosed, Seed: 2', {"Note": '"unclosed', "Seed": "2"}),
        ('p\nSteps: 1, Note: "a" b, Seed: 2', {"Note": '"a" b'}),
        ('p\nSteps: 1, Note: "a\\x", Seed: 2', {"Note": '"a\\x"'}),
        ("p\nSteps: 1, - ControlNet 0/x: y, Seed: 2", {"ControlNet 0/x": "y"}),
        ("a\n\nb\nNegative prompt: c\nNegative prompt: d\n\ne", {"Prompt": "a\n\nb", "Negative prompt": "c\nd\n\ne"}),
        ("p\nSteps: 1, FP8 weight: Enable, Seed: 2", {"Cache FP16 weight for LoRA": False}),
        ("p\nSteps: 1, First pass size: 0x0, Size: 1024x512", {"Size-1": 768, "Size-2": 384, "Hires resize-1": 1024}),
        ("p\nSteps: 1, Size-1: x, First pass size: 1x1", {"Size-1": "x"}),
        ("(a:1.2.3)\nSteps: 1, Sampler: X, Seed: 2", {"Emphasis": "Original"}),
        ("a BREAK b\nSteps: 1, Sampler: X, Seed: 2", {"Prompt": "a BREAK b"}),
    ],
)
def test_reading(text, expected):
    parameters = parse_infotext(text)
    assert {key: parameters.get(key) for key in expected} == expected
    assert ("Emphasis" in parameters) == ("(" in text)


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.10.1", set()),
        ("v1.8.0", set()),
        ("1.7.0", {"Downcast alphas_cumprod", "Refiner switch by sampling steps"}),
        ("v1.7.0-224-gabc1234", {"Downcast alphas_cumprod", "Refiner switch by sampling steps"}),
        ("v1.7.0-225-gabc1234", {"Refiner switch by sampling steps"}),
        ("1.8.0-RC", {"Refiner switch by sampling steps"}),
        (
            "1.6.0-RC-12-gabc1234",
            {
                "Old prompt editing timelines",
                "Pad conds v0",
                "Downcast alphas_cumprod",
                "Refiner switch by sampling steps",
            },
        ),
        ("f2.0.1v1.10.1-previous-665", set()),
        ("v1.10.1-amd-43-gabc", set()),
    ],
)
def test_old_versions(version, old):
    parameters = parse_infotext(f"[a:b:3]\nSteps: 1, Sampler: DDIM, Refiner: x, Version: {version}")
    assert {key for key, value in parameters.items() if value is True} == old
    kept = parse_infotext(f"[a:b:3]\nSteps: 1, Sampler: DDIM, Refiner: x, Version: {version}", backcompat=False)
    assert not any(value is True for value in kept.values())


def test_styles_are_found_in_the_prompts():
    style = Style("oil", "{prompt}, oil", "")
    parameters = parse_infotext("a fox, oil\nSteps: 1, Sampler: X, Seed: 2", [style])
    assert (parameters["Prompt"], parameters["Styles array"]) == ("a fox", ["oil"])
    assert "Styles array" not in parse_infotext("a fox\nSteps: 1, Sampler: X, Seed: 2", [style])


def test_options_get_the_types_they_have():
    text = "p\nSteps: 1, Clip skip: 2, ENSD: 31337, Schedule rho: abc, Tiling: True, RNG: NV, Model hash: abc"
    assert option_overrides(parse_infotext(text), NOW) == (
        ("ENSD", "eta_noise_seed_delta", 31337),
        ("Clip skip", "CLIP_stop_at_last_layers", 2.0),
        ("RNG", "randn_source", "NV"),
        ("Tiling", "tiling", True),
    )
    swapping = {"disable_weights_auto_swap": False, "sd_model_checkpoint": None}
    assert option_overrides(parse_infotext(text), swapping) == (("Model hash", "sd_model_checkpoint", "abc"),)


def test_hash_lists_are_read_back():
    value = hash_list({"a:b, c": "12", "d": "34"})
    assert value == "ab c: 12, d: 34"
    assert parse_infotext(write_infotext("p", "", {"A1": 1, "B1": 2, "Lora hashes": value}))["Lora hashes"] == value


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "ab: " * 50_000, 'ab: "' * 50_000, 'ab: "x, ' * 30_000, " " * 9 + "\\" * 99_999]
)
def test_monsters_are_read_in_no_time(text):
    begin = perf_counter()
    parse_infotext(text)
    assert perf_counter() - begin < 2
