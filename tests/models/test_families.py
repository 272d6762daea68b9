"""Families: found from names and shapes alone, and built so that they compute what diffusers and transformers do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from easel.errors import ModelError
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.families import read_checkpoint
from easel.models.families.family import PictureSize
from easel.models.layout import read_layout
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import CheckpointInfo
from easel.models.text import size_vector

from . import ldm_files
from .ldm_files import Recipe

KINDS = {
    "SD1": (ldm_files.SD1, "SD1", 0),
    "SD1 inpainting": (ldm_files.SD1_INPAINT, "SD1", 5),
    "SD1 pix2pix": (ldm_files.SD1_EDIT, "SD1", 4),
    "SD2": (ldm_files.SD2, "SD2", 0),
    "SDXL": (ldm_files.SDXL, "SDXL", 0),
    "refiner": (ldm_files.REFINER, "SDXL refiner", 0),
}


def load(path: Path) -> LoadedCheckpoint:
    info = CheckpointInfo(kind="checkpoint", name=path.stem, filename=path.name, path=path)
    return load_checkpoint(info, Placement())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("families")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        return path if path.is_file() else ldm_files.write(path, KINDS[kind][0].shapes())

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_family_is_found_from_the_header(kind: str, made: Callable[[str], Path]) -> None:
    family, blueprint = read_checkpoint(read_layout(made(kind)))
    assert (family.name, blueprint.extra_channels) == KINDS[kind][1:]


def test_a_model_that_looks_at_a_depth_map_is_refused(tmp_path: Path) -> None:
    deep = replace(ldm_files.SD2, unet=replace(ldm_files.SD2.unet, in_channels=5))
    path = tmp_path / "depth.safetensors"
    ldm_files.write_hole(path, deep.shapes())
    with pytest.raises(ModelError, match="1 more channels"):
        read_checkpoint(read_layout(path))


@pytest.mark.parametrize(
    ("recipe", "counts"),
    [(ldm_files.FULL_SD15, (686, 248, 196)), (ldm_files.FULL_SDXL, (1680, 248, 196, 517))],
    ids=["SD1.5", "SDXL"],
)
def test_published_sizes_are_read_from_the_header(recipe: Recipe, counts: tuple[int, ...], tmp_path: Path) -> None:
    """As many tensors as the published files have, and nothing left over. The file here has a header and a hole."""
    path = tmp_path / "full.safetensors"
    ldm_files.write_hole(path, recipe.shapes())
    _, blueprint = read_checkpoint(read_layout(path))
    parts = (blueprint.denoiser, blueprint.autoencoder, *blueprint.encoders)
    assert tuple(len(part.sources) for part in parts) == counts
    for part in parts:
        with torch.device("meta"):
            assert part.build().state_dict().keys() == part.sources.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_denoiser_computes_what_diffusers_does(kind: str, made: Callable[[str], Path]) -> None:
    """The oracle is diffusers' own conversion of the same file in its own UNet, SDXL's sizes by its own maths."""
    path = made(kind)
    recipe: Recipe = KINDS[kind][0]
    loaded = load(path)
    config = recipe.unet.config(heads=recipe.heads)
    numbers = (5 if kind == "refiner" else 6) if recipe.unet.vector else 0
    if numbers:
        config |= {"class_embed_type": None, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    state = load_file(path)
    converted = single_file_utils.convert_ldm_unet_checkpoint(dict(state), dict(config))
    oracle = UNet2DConditionModel(**config)
    oracle.load_state_dict({name: tensor.float() for name, tensor in converted.items()})
    torch.manual_seed(0)
    x, t = torch.randn(2, recipe.unet.in_channels, 8, 8), torch.tensor([3.5, 801.0])
    context, pooled = torch.randn(2, 77, recipe.unet.context), torch.randn(2, 96)
    added, vector = None, None
    if numbers:
        size = PictureSize(width=768, height=1024, crop_top=8, crop_left=16)
        values = loaded.blueprint.numbers(size) if loaded.blueprint.numbers else ()
        assert len(values) == numbers
        added = {"text_embeds": pooled, "time_ids": torch.tensor([values, values])}
        vector = size_vector(pooled, values)
    with torch.inference_mode():
        expected = oracle(x, t, context, added_cond_kwargs=added).sample
    extra = loaded.blueprint.extra_channels
    noise, rest = (x[:, :-extra], x[:, -extra:]) if extra else (x, None)
    torch.testing.assert_close(loaded.predict(noise, t, context, vector, extra=rest), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["SD1", "SDXL"])
def test_autoencoder_computes_what_diffusers_does(kind: str, made: Callable[[str], Path]) -> None:
    loaded = load(made(kind))
    config = dict(ldm_files.VAE)
    state = {name: tensor.float() for name, tensor in load_file(made(kind)).items()}
    oracle = AutoencoderKL(**config)
    oracle.load_state_dict(single_file_utils.convert_ldm_vae_checkpoint(state, config))
    latents = torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        expected = oracle.decode(latents / loaded.latent.scale).sample
        mean = oracle.encode(expected).latent_dist.mode() * loaded.latent.scale
    torch.testing.assert_close(loaded.decode_latents(latents), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded.encode_pixels(expected), mean, rtol=1e-4, atol=1e-4)


def hidden_states(state: dict[str, Tensor], recipe: Recipe, number: int, tokens: Tensor) -> tuple[list[Tensor], Any]:
    """All hidden states and the model of transformers' text encoder, converted by diffusers."""
    prefix, config = recipe.texts[number]
    model = CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=config.width,
            intermediate_size=config.inner,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            hidden_act=config.activation,
            projection_dim=config.projection or config.width,
            vocab_size=config.tokens,
            bos_token_id=49406,
            eos_token_id=49407,
        )
    )
    if "text_model" in prefix:
        converted = {f"text_model.{name}": tensor for name, tensor in below(state, prefix).items()}
        converted["text_projection.weight"] = model.text_projection.weight
    else:
        converted = single_file_utils.convert_open_clip_checkpoint(model, dict(state), prefix)
        converted.setdefault("text_projection.weight", state[f"{prefix}text_projection"].T)
    missing = model.load_state_dict({k: v.float() for k, v in converted.items()}, strict=False).missing_keys
    assert not [name for name in missing if "position_ids" not in name]
    with torch.inference_mode():
        output = model(tokens, output_hidden_states=True)
    return list(output.hidden_states), (model, output.text_embeds)


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def test_sdxl_texts_are_both_encoders_penultimate_states(made: Callable[[str], Path]) -> None:
    loaded, state = load(made("SDXL")), load_file(made("SDXL"))
    chunks = [loaded.texts.chunker(part).chunk("a red fox") for part in loaded.texts.parts]
    tokens = [torch.tensor([chunk.chunks[0].tokens]) for chunk in chunks]
    assert tokens[0][0, -1] == 49407
    assert tokens[1][0, -1] == 0
    small, _ = hidden_states(state, ldm_files.SDXL, 0, tokens[0])
    big, (_, pooled) = hidden_states(state, ldm_files.SDXL, 1, tokens[1])
    encoded = loaded.encode_texts(["a red fox"])
    expected = torch.cat([small[-2], big[-2]], dim=2)
    torch.testing.assert_close(encoded.context, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoded.pooled, pooled, rtol=1e-4, atol=1e-4)
    vector = loaded.vector(encoded, PictureSize(width=64, height=32))
    assert vector is not None
    assert vector.shape == (1, 96 + 6 * 256)


def test_an_empty_negative_prompt_of_sdxl_is_zeros(made: Callable[[str], Path]) -> None:
    loaded = load(made("SDXL"))
    zeros = loaded.encode_texts([""], negative=True)
    assert zeros.pooled is not None
    assert not zeros.context.any()
    assert not zeros.pooled.any()
    assert loaded.encode_texts([""]).context.any()
    assert loaded.encode_texts(["a"], negative=True).context.any()


def test_sd2_texts_are_the_normed_penultimate_state(made: Callable[[str], Path]) -> None:
    loaded, state = load(made("SD2")), load_file(made("SD2"))
    tokens = torch.tensor([loaded.texts.chunker(loaded.texts.parts[0]).chunk("a red fox").chunks[0].tokens])
    states, (model, _) = hidden_states(state, ldm_files.SD2, 0, tokens)
    with torch.inference_mode():
        expected = model.text_model.final_layer_norm(states[-2])
    torch.testing.assert_close(loaded.encode_texts(["a red fox"]).context, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"), [('    parameterization: "v"\n', "v"), ("parameterization: eps\n", "eps")]
)
def test_a_yaml_beside_the_file_says_what_sd2_predicts(
    text: str, expected: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.symlink_to(made("SD2"))
    assert read_checkpoint(read_layout(path))[1].prediction is None
    path.with_suffix(".yaml").write_text(text)
    assert read_checkpoint(read_layout(path))[1].prediction == expected


def test_sd2_is_asked_when_nothing_says_what_it_predicts(made: Callable[[str], Path], tmp_path: Path) -> None:
    """A model that answers noise with about its input predicts noise; one that answers far below it, velocity."""
    state = load_file(made("SD2"))
    for wanted, answer in (("eps", 0.5), ("v", -1.5)):
        state["model.diffusion_model.out.2.weight"].zero_()
        state["model.diffusion_model.out.2.bias"].fill_(answer)
        path = tmp_path / f"{wanted}.safetensors"
        save_file(state, path)
        assert load(path).prediction == wanted


def test_marks_of_sdxl_velocity_models_are_seen(tmp_path: Path) -> None:
    marked = Recipe(**{**vars(ldm_files.SDXL), "marks": {"v_pred": (1,), "ztsnr": (1,)}})
    loaded = load(ldm_files.write(tmp_path / "v.safetensors", marked.shapes()))
    assert loaded.prediction == "v"
    assert 0 < loaded.alphas_cumprod[-1] < 1e-6
    assert loaded.alphas_cumprod[0] == pytest.approx(0.99915, abs=1e-4)


def test_novelai_names_and_ema_copies_load(made: Callable[[str], Path], tmp_path: Path) -> None:
    state = load_file(made("SD1"))
    renamed = {name.replace(".text_model.", "."): tensor for name, tensor in state.items()}
    renamed |= {"model_ema.diffusion_modelinput_blocks00weight": torch.zeros(3), "global_step": torch.tensor([1])}
    save_file(renamed, tmp_path / "nai.safetensors")
    expected = load(made("SD1")).encode_texts(["a cat"]).context
    assert torch.equal(load(tmp_path / "nai.safetensors").encode_texts(["a cat"]).context, expected)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("first_stage_model.", "no autoencoder"),
        ("cond_stage_model.", "0 of 1 text encoders"),
        ("model.diffusion_model.", "not a checkpoint of a family"),
        ("model.diffusion_model.output_blocks.1.", "tensors are missing"),
    ],
)
def test_what_is_missing_is_named(lost: str, message: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in load_file(made("SD1")).items() if not name.startswith(lost)}
    path = tmp_path / "partial.safetensors"
    save_file(state, path)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert "partial.safetensors" in caught.value.message
    assert str(tmp_path) not in caught.value.message


def save_folder(folder: Path, loaded: LoadedCheckpoint, recipe: Recipe) -> None:
    """Write a loaded checkpoint as a diffusers folder, as `save_pretrained` lays it out."""
    config = recipe.unet.config(heads=recipe.heads)
    unet = {name: tensor.contiguous() for name, tensor in loaded.unet.state_dict().items()}
    if recipe.unet.vector:
        config |= {"class_embed_type": None, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        unet = {name.replace("class_embedding.", "add_embedding."): tensor for name, tensor in unet.items()}
    parts: dict[str, tuple[str, dict[str, Tensor], dict[str, Any]]] = {
        "unet": ("diffusion_pytorch_model", unet, config),
        "vae": ("diffusion_pytorch_model", loaded.vae.state_dict(), {"_class_name": "AutoencoderKL", **recipe.vae}),
    }
    for number, (module, (_, sizes)) in enumerate(zip(loaded.texts.modules, recipe.texts, strict=True)):
        legacy = {
            name if name.startswith("text_projection") else f"text_model.{name}": tensor
            for name, tensor in module.state_dict().items()
        }
        parts["text_encoder" if number == 0 else f"text_encoder_{number + 1}"] = (
            "model",
            legacy,
            {
                "hidden_size": sizes.width,
                "num_hidden_layers": sizes.layers,
                "num_attention_heads": sizes.heads,
                "intermediate_size": sizes.inner,
                "hidden_act": sizes.activation,
            },
        )
    for component, (stem, state, config) in parts.items():
        (folder / component).mkdir(parents=True)
        (folder / component / "config.json").write_text(json.dumps(config))
        save_file(
            {name: tensor.contiguous() for name, tensor in state.items()}, folder / component / f"{stem}.safetensors"
        )
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": "v_prediction"}))


@pytest.mark.parametrize("kind", ["SD1", "SDXL"])
def test_a_diffusers_folder_equals_the_single_file(kind: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    recipe: Recipe = KINDS[kind][0]
    single = load(made(kind))
    save_folder(tmp_path / "folder", single, recipe)
    folder = load(tmp_path / "folder")
    assert folder.family.name == kind
    assert folder.prediction == "v"
    texts, same = single.encode_texts(["a red fox"]), folder.encode_texts(["a red fox"])
    assert torch.equal(texts.context, same.context)
    size = PictureSize(width=64, height=64)
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    one = single.predict(x, t, texts.context, single.vector(texts, size))
    other = folder.predict(x, t, same.context, folder.vector(same, size))
    assert torch.equal(one, other)
    assert torch.equal(single.decode_latents(one), folder.decode_latents(other))
