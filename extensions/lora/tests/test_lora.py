"""From a request through the whole service to what the engine is asked."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from easel import Adapter, BadRequest, GenerationRequest, Job, Prompt

Generate = Any
App = Any


def write_lora(folder: Path, name: str, seed: int = 0, **metadata: str) -> Path:
    """A safetensors file of one small tensor."""
    data = np.random.default_rng(seed).standard_normal((2, 4), dtype=np.float32).tobytes()
    key = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
    tensors = {key: {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, len(data)]}}
    header = json.dumps({**tensors, "__metadata__": metadata}).encode()
    path = folder / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.fixture
def loras(easel_app: App) -> Path:
    """The folder with `ink`, `style/brush` and two files of one alias."""
    folder: Path = easel_app.settings.data_dir / "models" / "Lora"
    write_lora(folder, "ink", ss_output_name="ink_v2")
    write_lora(folder, "style/brush", 1, sshs_model_hash="abcdef0123456789")
    for number in (1, 2):
        write_lora(folder, f"twin{number}", number, ss_output_name="twin")
    (folder / "broken.safetensors").write_bytes(b"\xff" * 100)
    easel_app.refresh_models()
    return folder


def adapters(app: App) -> tuple[Adapter, ...]:
    (denoised,) = app.engine.called("denoise")
    found: tuple[Adapter, ...] = denoised.arguments["model"].adapters
    return found


def encoded(app: App) -> tuple[str, ...]:
    texts: tuple[str, ...] = app.engine.called("encode_prompts")[0].arguments["positive"]
    return texts


def test_a_tag_becomes_an_adapter_and_leaves_the_text(easel_app: App, easel_generate: Generate, loras: Path) -> None:
    result = easel_generate("a red <lora:ink:0.8:0.3:4>fox")
    path = str(loras / "ink.safetensors")
    assert adapters(easel_app) == (Adapter(name="ink", file=path, text_weight=0.8, unet_weight=0.3, dyn_dim=4),)
    assert encoded(easel_app) == ("a red fox",)
    infotext = result.images[0].infotext
    assert infotext.startswith("a red <lora:ink:0.8:0.3:4>fox")
    data = (loras / "ink.safetensors").read_bytes()
    tensors = data[8 + int.from_bytes(data[:8], "little") :]
    assert f'Lora hashes: "ink: {hashlib.sha256(tensors).hexdigest()[:12]}"' in infotext
    assert result.warnings == ()
    assert [(line.item, line.outcome) for line in result.report if line.item.startswith("<")] == [
        ("<lora:ink:0.8:0.3:4>", "applied")
    ]


@pytest.mark.parametrize("word", ["ink", "ink_v2"])
def test_a_file_by_its_stem_or_its_alias(word: str, easel_app: App, easel_generate: Generate, loras: Path) -> None:
    easel_generate(f"<lyco:{word}>")
    assert [one.file for one in adapters(easel_app)] == [str(loras / "ink.safetensors")]


@pytest.mark.parametrize("word", ["brush", "style/brush"])
def test_a_file_in_a_folder_and_the_hash_its_trainer_gave(word: str, easel_generate: Generate, loras: Path) -> None:
    assert f'"{word}: abcdef012345"' in easel_generate(f"<lora:{word}:0.5>").images[0].infotext


def test_a_refused_file_does_not_hide_its_rewrite(easel_app: App, easel_generate: Generate, loras: Path) -> None:
    (loras / "ink.pt").write_bytes(b"a pickle")
    easel_app.refresh_models()
    assert easel_generate("fox <lora:ink:1>").warnings == ()
    (adapter,) = adapters(easel_app)
    assert adapter.file.endswith("ink.safetensors")


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<lora:inc:1>", "there is no LoRA 'inc'; did you mean 'ink'?"),
        ("<lora:twin:1>", "'twin' may mean twin1 or twin2"),
        ("<lora:broken:1>", "broken"),
        ("<lora:../../secret:1>", "there is no LoRA '../../secret'"),
    ],
)
def test_a_name_that_cannot_be_used_is_a_named_warning(
    tag: str, words: str, easel_app: App, easel_generate: Generate, loras: Path
) -> None:
    result = easel_generate(f"fox {tag}")
    assert adapters(easel_app) == ()
    assert encoded(easel_app) == ("fox ",)
    (warning,) = result.warnings
    assert warning.startswith(f"{tag}: ")
    assert words in warning
    assert [(line.item, line.outcome, line.extension) for line in result.report if line.item == tag] == [
        (tag, "ignored", "lora")
    ]
    with pytest.raises(BadRequest, match="would be ignored"):
        easel_generate(f"fox {tag}", strict=True)


def test_a_file_copied_in_while_the_service_runs_is_found(
    easel_app: App, easel_generate: Generate, loras: Path
) -> None:
    write_lora(loras, "late")
    easel_generate("<lora:late>")
    assert [one.name for one in adapters(easel_app)] == ["late"]


@pytest.mark.parametrize("weight", ["0", "-1", "1000", "1", "te=0:unet=0"])
def test_odd_weights_make_a_picture(weight: str, easel_generate: Generate, loras: Path) -> None:
    result = easel_generate(f"fox <lora:ink:{weight}>")
    assert len(result.images) == 1
    assert bool(result.warnings) == (weight == "1000")


def test_weight_zero_is_the_picture_without_the_tag(easel_generate: Generate, loras: Path) -> None:
    with_tag, without, stronger = map(easel_generate, ("fox<lora:ink:0>", "fox", "fox<lora:ink:1>"))
    pixels = [Pillow.open(BytesIO(one.images[0].data)).tobytes() for one in (with_tag, without, stronger)]
    assert pixels[0] == pixels[1] != pixels[2]


def test_a_weight_that_is_no_number_is_refused(easel_generate: Generate, loras: Path) -> None:
    with pytest.raises(BadRequest, match=r"the weight in <lora:ink:abc> is not a number"):
        easel_generate("fox <lora:ink:abc>")


def test_a_file_named_twice_counts_with_the_sum(easel_app: App, easel_generate: Generate, loras: Path) -> None:
    easel_generate("<lora:ink:0.5><lora:ink_v2:0.25:1>")
    assert [(one.text_weight, one.unet_weight) for one in adapters(easel_app)] == [(0.75, 1.5)]


def test_a_name_that_comes_again_counts_again_with_its_last_weights(
    easel_app: App, easel_generate: Generate, loras: Path
) -> None:
    """As A1111 has it; the picture was compared with its own."""
    result = easel_generate("<lora:ink:0.5><lora:ink:0.25:1>")
    assert [(one.text_weight, one.unet_weight) for one in adapters(easel_app)] == [(0.5, 2.0)]
    assert result.images[0].infotext.count("ink:") == 3  # two tags, one hash


def test_disable_extra_networks_cuts_the_tags_and_loads_nothing(
    easel_app: App, easel_generate: Generate, loras: Path
) -> None:
    result = easel_generate("fox <lora:ink:1>", disable_extra_networks=True)
    assert (adapters(easel_app), encoded(easel_app), result.warnings) == ((), ("fox ",), ())
    assert "Lora hashes" not in result.images[0].infotext


def test_no_hashing_writes_no_hashes(easel_app: App, easel_extension: Any, loras: Path) -> None:
    easel_extension.startup(easel_app)
    easel_app.store.hashing = False
    prompt = Prompt(positive=("<lora:ink>",), negative=("",))
    changed = easel_extension.rewrite_prompt(prompt, Job(id="1", request=GenerationRequest()))
    assert (len(changed.adapters), changed.extra_infotext) == (1, ())


def test_the_first_prompt_decides_and_the_hires_pass_has_its_own(
    easel_extension: Any, loras: Path, easel_app: App
) -> None:
    from easel import GenerationRequest, Job

    easel_extension.startup(easel_app)
    prompt = Prompt(
        positive=("one <lora:ink:1>", "two <lora:brush:1>"),
        negative=("<lora:ink:1>", ""),
        hires_positive=("large <lora:brush:0.5>",) * 2,
        hires_negative=("", ""),
    )
    changed = easel_extension.rewrite_prompt(prompt, Job(id="1", request=GenerationRequest()))
    assert changed.positive == ("one ", "two ")
    assert changed.negative == ("<lora:ink:1>", "")
    assert changed.hires_positive == ("large ", "large ")
    assert [one.name for one in changed.adapters] == ["ink"]
    assert [(one.name, one.unet_weight) for one in changed.hires_adapters] == [("brush", 0.5)]


def test_without_tags_nothing_is_touched(easel_app: App, easel_generate: Generate, loras: Path) -> None:
    result = easel_generate("a fox < lora:ink:1> <ink>")
    assert adapters(easel_app) == ()
    assert [line for line in result.report if line.extension == "lora"] == []
