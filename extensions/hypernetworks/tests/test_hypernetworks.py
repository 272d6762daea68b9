"""From a request through the whole service to what the engine is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel import Adapter, BadRequest, GenerationRequest, Job, Prompt

Generate = Callable[..., Any]
App = Any


def write_network(folder: Path, name: str) -> Path:
    """A safetensors file that the store takes; its tensors do not matter to the fake engine."""
    header = json.dumps({"64.k.linear.0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path = folder / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return path


@pytest.fixture
def networks(easel_app: App) -> Path:
    """The folder with `ink` (and the pickle it came from), `style/brush`, and a pickle that waits."""
    folder: Path = easel_app.settings.data_dir / "models" / "hypernetworks"
    for name in ("ink", "style/brush"):
        write_network(folder, name)
    for name in ("ink", "waits"):
        (folder / f"{name}.pt").write_bytes(b"PK")
    easel_app.refresh_models()
    return folder


def adapters(app: App) -> tuple[Adapter, ...]:
    (denoised,) = app.engine.called("denoise")
    found: tuple[Adapter, ...] = denoised.arguments["model"].adapters
    return found


def encoded(app: App) -> tuple[str, ...]:
    texts: tuple[str, ...] = app.engine.called("encode_prompts")[0].arguments["positive"]
    return texts


@pytest.mark.parametrize(
    ("tag", "weight"),
    [
        ("<hypernet:ink>", 1.0),
        ("<hypernet:ink:0.8>", 0.8),
        ("<hypernet:ink:-.5>", -0.5),
        ("<hypernet:ink:unet=0.3>", 0.3),
    ],
)
def test_a_tag_becomes_an_adapter_and_leaves_the_text(
    tag: str, weight: float, easel_app: App, easel_generate: Generate, networks: Path
) -> None:
    result = easel_generate(f"a red {tag}fox", strict=True)
    path = str(networks / "ink.safetensors")
    assert adapters(easel_app) == (
        Adapter(kind="hypernetwork", name="ink", file=path, text_weight=0.0, unet_weight=weight),
    )
    assert encoded(easel_app) == ("a red fox",)
    assert result.images[0].infotext.startswith(f"a red {tag}fox")
    assert result.warnings == ()
    assert [(one.item, one.outcome) for one in result.report if one.item.startswith("<")] == [(tag, "applied")]


def test_several_in_their_order_and_one_twice(easel_app: App, easel_generate: Generate, networks: Path) -> None:
    easel_generate("<hypernet:style/brush:0.5><hypernet:ink:2> fox <hypernet:brush:0.25>")
    assert [(one.name, one.unet_weight) for one in adapters(easel_app)] == [
        ("style/brush", 0.5),
        ("ink", 2.0),
        ("brush", 0.25),
    ]
    assert encoded(easel_app) == (" fox ",)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<hypernet:inc:1>", "did you mean 'ink'?"),
        ("<hypernet:waits:1>", "easel convert waits.pt"),
        ("<hypernet:../../secret:1>", "unknown name"),
    ],
)
def test_a_name_that_cannot_be_used_is_a_named_warning(
    tag: str, words: str, easel_app: App, easel_generate: Generate, networks: Path
) -> None:
    result = easel_generate(f"fox {tag}")
    assert (adapters(easel_app), encoded(easel_app)) == ((), ("fox ",))
    (warning,) = result.warnings
    assert warning.startswith(f"{tag}: ")
    assert words in warning
    assert [(one.outcome, one.extension) for one in result.report if one.item == tag] == [("ignored", "hypernetworks")]
    with pytest.raises(BadRequest, match="would be ignored"):
        easel_generate(f"fox {tag}", strict=True)


@pytest.mark.parametrize("tag", ["<hypernet:ink:abc>", "<hypernet:ink:>", "<hypernet:ink:nan>", "<hypernet:ink:1e999>"])
def test_a_weight_that_is_no_number_is_refused(tag: str, easel_generate: Generate, networks: Path) -> None:
    with pytest.raises(BadRequest, match=f"the weight in {tag} is not a number"):
        easel_generate(f"fox {tag}")


@pytest.mark.parametrize(
    ("tag", "weights", "words"),
    [
        ("<hypernet:ink:1000>", [20.0], ["weight 1000 is beyond 20, which is used instead"]),
        ("<hypernet:ink:1:2:te=3>", [1.0], ["'2' is one value too many", "te=3 means nothing here"]),
        ("<hypernet:ink:0>", [], []),
    ],
)
def test_odd_tags(
    tag: str, weights: list[float], words: list[str], easel_app: App, easel_generate: Generate, networks: Path
) -> None:
    result = easel_generate(f"fox {tag}")
    assert [one.unet_weight for one in adapters(easel_app)] == weights
    assert list(result.warnings) == [f"{tag}: {one}" for one in words]


def test_a_file_copied_in_while_the_service_runs_is_found(
    easel_app: App, easel_generate: Generate, networks: Path
) -> None:
    write_network(networks, "waits")
    easel_generate("<hypernet:waits>")
    assert [one.file for one in adapters(easel_app)] == [str(networks / "waits.safetensors")]


def test_disable_extra_networks_cuts_the_tags_and_loads_nothing(
    easel_app: App, easel_generate: Generate, networks: Path
) -> None:
    result = easel_generate("fox <hypernet:ink:1>", disable_extra_networks=True)
    assert (adapters(easel_app), encoded(easel_app), result.warnings) == ((), ("fox ",), ())


def test_the_first_prompt_decides_and_the_hires_pass_has_its_own(
    easel_extension: Any, networks: Path, easel_app: App
) -> None:
    easel_extension.startup(easel_app)
    prompt = Prompt(
        positive=("one <hypernet:ink:1>", "two <hypernet:brush:1> <lora:x:1>"),
        negative=("<hypernet:ink:1>", ""),
        hires_positive=("large <hypernet:brush:0.5>",) * 2,
        hires_negative=("", ""),
        adapters=(Adapter(name="x", file="x.safetensors"),),
    )
    changed = easel_extension.rewrite_prompt(prompt, Job(id="1", request=GenerationRequest()))
    assert changed.positive == ("one ", "two  <lora:x:1>")
    assert changed.negative == ("<hypernet:ink:1>", "")
    assert changed.hires_positive == ("large ", "large ")
    assert [one.name for one in changed.adapters] == ["x", "ink"]
    assert [(one.name, one.unet_weight) for one in changed.hires_adapters] == [("brush", 0.5)]


def test_without_tags_nothing_is_touched(easel_app: App, easel_generate: Generate, networks: Path) -> None:
    result = easel_generate("a fox < hypernet:ink:1> <ink>")
    assert adapters(easel_app) == ()
    assert [line for line in result.report if line.extension == "hypernetworks"] == []
