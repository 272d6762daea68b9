"""LoRA files of every spelling and form: the weights become what the formulas say, and go back to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from easel.errors import ModelError, RefusedFile
from easel.models.adapters import Adapters, layer_names
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import CheckpointInfo, ModelStore
from easel.values.prompt import Adapter

from . import ldm_files

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"
TEXT = "encoder.layers.0.self_attn.q_proj"


def weights(model: LoadedCheckpoint) -> dict[str, Tensor]:
    modules = {"unet": model.unet, **{f"te{n}": module for n, module in enumerate(model.texts.modules)}}
    return {f"{part}.{name}": t.clone() for part, module in modules.items() for name, t in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def adapter(path: Path, **fields: object) -> Adapter:
    return Adapter(**{"name": path.stem, "file": str(path), **fields})  # type: ignore[arg-type]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Adapter]:
    def make(tensors: dict[str, Tensor], **fields: object) -> Adapter:
        path = tmp_path / f"made{len(list(tmp_path.iterdir()))}.safetensors"
        save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}, path)
        return adapter(path, **fields)

    return make


def test_the_recorded_lora_changes_what_it_names_and_goes_without_a_trace(
    tiny: LoadedCheckpoint, tiny_store: ModelStore
) -> None:
    lora = tiny_store.find("lora", "tinylora")
    before = weights(tiny)
    assert tiny.set_adapters((adapter(lora.path),)) == ()
    now = weights(tiny)
    assert len(changed(before, now)) == 24 + 12
    tensors = load_file(lora.path)
    for part, layer, spelled in (
        ("unet", QUERY, "lora_unet_" + QUERY.replace(".", "_")),
        ("te0", TEXT, "lora_te_text_model_" + TEXT.replace(".", "_")),
    ):
        delta = tensors[f"{spelled}.lora_up.weight"] @ tensors[f"{spelled}.lora_down.weight"]  # alpha = rank
        torch.testing.assert_close(now[f"{part}.{layer}.weight"], before[f"{part}.{layer}.weight"] + delta)
    tiny.set_adapters(())
    assert changed(before, weights(tiny)) == set()


def test_the_parts_have_weights_of_their_own(tiny: LoadedCheckpoint, tiny_store: ModelStore) -> None:
    lora = tiny_store.find("lora", "tinylora").path
    before = weights(tiny)
    tiny.set_adapters((adapter(lora, text_weight=0.0, unet_weight=0.5),))
    half = weights(tiny)
    assert {name.partition(".")[0] for name in changed(before, half)} == {"unet"}
    tiny.set_adapters((adapter(lora, text_weight=1.0, unet_weight=0.0),))
    assert {name.partition(".")[0] for name in changed(before, weights(tiny))} == {"te0"}
    tiny.set_adapters((adapter(lora, unet_weight=0.25), adapter(lora, unet_weight=0.25)))
    torch.testing.assert_close(weights(tiny)[f"unet.{QUERY}.weight"], half[f"unet.{QUERY}.weight"])


def test_switching_a_hundred_times_leaves_the_weights_to_the_bit(
    tiny: LoadedCheckpoint, tiny_store: ModelStore
) -> None:
    lora = tiny_store.find("lora", "tinylora").path
    before = weights(tiny)
    for turn in range(100):
        tiny.set_adapters((adapter(lora, unet_weight=0.1 * turn - 5, text_weight=1000.0),))
    tiny.set_adapters(())
    assert changed(before, weights(tiny)) == set()


def test_half_precision_weights_go_back_to_the_bit(tiny_store: ModelStore) -> None:
    model = load_checkpoint(tiny_store.checkpoint("tiny"), Placement(torch.device("cpu"), torch.bfloat16))
    before = weights(model)
    model.set_adapters((adapter(tiny_store.find("lora", "tinylora").path),))
    assert changed(before, weights(model))
    model.set_adapters(())
    assert changed(before, weights(model)) == set()


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.2


Q, C = 32, 32  # sides of the tiny query and of its first convolution (3x3)
up, down, alpha = rand(Q, 4), rand(4, Q), torch.tensor(2.0)
kohya = "lora_unet_" + QUERY.replace(".", "_")
kohya_conv = "lora_unet_" + CONV.replace(".", "_")
conv_up, conv_down = rand(C, 4, 1, 1), rand(4, C, 3, 3)
core, w1, w2 = rand(4, 4, 3, 3), rand(4, C), 0.1 - rand(4, C)
dora_rows, dora_columns = rand(Q).abs() + 0.5, rand(1, Q).abs() + 0.5
lokr_a, lokr_b = rand(4, 8), rand(8, 4)


def rows(weight: Tensor, delta: Tensor) -> Tensor:
    total = weight + delta
    return total / total.norm(dim=1, keepdim=True) * dora_rows[:, None]


def columns(weight: Tensor, delta: Tensor) -> Tensor:
    total = weight + delta
    return total / total.norm(dim=0, keepdim=True) * dora_columns


Formula = Callable[[Tensor], Tensor]
FORMS: dict[str, tuple[dict[str, Tensor], str, Formula]] = {
    "kohya": (
        {f"{kohya}.lora_up.weight": up, f"{kohya}.lora_down.weight": down, f"{kohya}.alpha": alpha},
        QUERY,
        lambda w: w + up @ down / 2,
    ),
    "without alpha": (
        {f"{kohya}.lora_up.weight": up, f"{kohya}.lora_down.weight": down},
        QUERY,
        lambda w: w + up @ down,
    ),
    "LDM block names": (
        {
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight": up,
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight": down,
        },
        QUERY,
        lambda w: w + up @ down,
    ),
    "LDM convolution": (
        {
            "lora_unet_input_blocks_1_0_in_layers_2.lora_up.weight": conv_up,
            "lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight": conv_down,
        },
        CONV,
        lambda w: w + (conv_up.flatten(1) @ conv_down.flatten(1)).reshape(w.shape),
    ),
    "diffusers": (
        {f"unet.{QUERY}.lora_A.weight": down, f"unet.{QUERY}.lora_B.weight": up},
        QUERY,
        lambda w: w + up @ down,
    ),
    "PEFT": (
        {f"base_model.model.{QUERY}.lora_A.weight": down, f"base_model.model.{QUERY}.lora_B.weight": up},
        QUERY,
        lambda w: w + up @ down,
    ),
    "old diffusers": (
        {
            f"unet.{QUERY.removesuffix('.to_q')}.processor.to_q_lora.down.weight": down,
            f"unet.{QUERY.removesuffix('.to_q')}.processor.to_q_lora.up.weight": up,
        },
        QUERY,
        lambda w: w + up @ down,
    ),
    "convolution with a core": (
        {
            f"{kohya_conv}.lora_up.weight": conv_up,
            f"{kohya_conv}.lora_down.weight": w2[:, :, None, None],
            f"{kohya_conv}.lora_mid.weight": core,
        },
        CONV,
        lambda w: w + torch.einsum("nmkl,on,mi->oikl", core, conv_up.flatten(1), w2),
    ),
    "LoHa": (
        {
            f"{kohya}.hada_w1_a": up,
            f"{kohya}.hada_w1_b": down,
            f"{kohya}.hada_w2_a": 2 * up,
            f"{kohya}.hada_w2_b": down + 1,
            f"{kohya}.alpha": alpha,
        },
        QUERY,
        lambda w: w + (up @ down) * (2 * up @ (down + 1)) / 2,
    ),
    "LoHa with cores": (
        {
            f"{kohya_conv}.hada_w1_a": w1,
            f"{kohya_conv}.hada_w1_b": w2,
            f"{kohya_conv}.hada_w2_a": w2,
            f"{kohya_conv}.hada_w2_b": w1,
            f"{kohya_conv}.hada_t1": core,
            f"{kohya_conv}.hada_t2": core,
        },
        CONV,
        lambda w: w + torch.einsum("abkl,ao,bi->oikl", core, w1, w2) * torch.einsum("abkl,ao,bi->oikl", core, w2, w1),
    ),
    "LoKr whole": (
        {f"{kohya}.lokr_w1": rand(4, 4), f"{kohya}.lokr_w2": rand(8, 8), f"{kohya}.alpha": torch.tensor(9e9)},
        QUERY,
        lambda w: w + torch.kron(rand(4, 4), rand(8, 8)),  # without ranks there is no scale
    ),
    "LoKr factored": (
        {
            f"{kohya}.lokr_w1": rand(4, 4),
            f"{kohya}.lokr_w2_a": lokr_b,
            f"{kohya}.lokr_w2_b": lokr_a,
            f"{kohya}.alpha": alpha,
        },
        QUERY,
        lambda w: w + torch.kron(rand(4, 4), lokr_b @ lokr_a) / 2,
    ),
    "LoKr convolution": (
        {f"{kohya_conv}.lokr_w1": rand(4, 4), f"{kohya_conv}.lokr_w2": rand(8, 8, 3, 3)},
        CONV,
        lambda w: w + torch.kron(rand(4, 4)[:, :, None, None], rand(8, 8, 3, 3)),
    ),
    "difference": ({f"{kohya_conv}.diff": rand(C, C, 3, 3)}, CONV, lambda w: w + rand(C, C, 3, 3)),
    "DoRA of rows": (
        {
            f"unet.{QUERY}.lora_A.weight": down,
            f"unet.{QUERY}.lora_B.weight": up,
            f"unet.{QUERY}.lora_magnitude_vector": dora_rows,
        },
        QUERY,
        lambda w: rows(w, up @ down),
    ),
    "DoRA of columns": (
        {
            f"{kohya}.lora_up.weight": up,
            f"{kohya}.lora_down.weight": down,
            f"{kohya}.alpha": torch.tensor(4.0),
            f"{kohya}.dora_scale": dora_columns,
        },
        QUERY,
        lambda w: columns(w, up @ down),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_does_what_its_formula_says(form: str, tiny_unet: nn.Module, write: Callable[..., Adapter]) -> None:
    tensors, layer, formula = FORMS[form]
    used = Adapters(layer_names(tiny_unet, [], tiny_names()))
    before = {name: tensor.clone() for name, tensor in tiny_unet.state_dict().items()}
    for weight in (1.0, -0.5):
        assert used.use((write(tensors, unet_weight=weight),)) == ()
        now = tiny_unet.state_dict()
        assert changed(before, now) == {f"{layer}.weight"}
        full = formula(before[f"{layer}.weight"]) - before[f"{layer}.weight"]
        expected = before[f"{layer}.weight"] + weight * full
        torch.testing.assert_close(now[f"{layer}.weight"], expected, rtol=1e-5, atol=1e-6)
    used.use(())
    assert changed(before, tiny_unet.state_dict()) == set()


def test_dyn_dim_keeps_the_first_ranks_and_the_scale(tiny_unet: nn.Module, write: Callable[..., Adapter]) -> None:
    before = tiny_unet.get_parameter(f"{QUERY}.weight").clone()
    used = Adapters(layer_names(tiny_unet, [], tiny_names()))
    used.use((write(FORMS["kohya"][0], dyn_dim=1),))
    torch.testing.assert_close(tiny_unet.get_parameter(f"{QUERY}.weight"), before + up[:, :1] @ down[:1] / 2)
    used.use(())


def test_bias_and_norm_changes(tiny_unet: nn.Module, write: Callable[..., Adapter]) -> None:
    norm = "down_blocks.0.resnets.0.norm1"
    flat = "lora_unet_" + norm.replace(".", "_")
    used = Adapters(layer_names(tiny_unet, [], tiny_names()))
    before = {name: tensor.clone() for name, tensor in tiny_unet.state_dict().items()}
    used.use((write({f"{flat}.w_norm": rand(32), f"{flat}.b_norm": rand(32), f"{kohya_conv}.diff_b": rand(32)}),))
    now = tiny_unet.state_dict()
    assert changed(before, now) == {f"{norm}.weight", f"{norm}.bias", f"{CONV}.bias"}
    torch.testing.assert_close(now[f"{norm}.weight"], before[f"{norm}.weight"] + rand(32))
    used.use(())
    assert changed(before, tiny_unet.state_dict()) == set()


@pytest.fixture(scope="module")
def tiny_unet(tiny_data: Path) -> nn.Module:
    path = tiny_data / "models/Stable-diffusion/tiny.safetensors"
    unet: nn.Module = load_checkpoint(
        CheckpointInfo(kind="checkpoint", name="tiny", filename=path.name, path=path), Placement()
    ).unet
    return unet


def tiny_names() -> dict[str, str]:
    return ldm_files.unet(channels=(32, 64, 128, 128), resnets=2, depths=(1, 1, 1, 0)).names()


def test_sdxl_files_reach_both_text_encoders(tmp_path: Path, write: Callable[..., Adapter]) -> None:
    path = ldm_files.write(tmp_path / "xl.safetensors", ldm_files.SDXL.shapes())
    model = load_checkpoint(CheckpointInfo(kind="checkpoint", name="xl", filename="xl", path=path), Placement())
    before = weights(model)
    pair = {"lora_up.weight": rand(64, 2), "lora_down.weight": rand(2, 64)}
    big = {"lora_up.weight": rand(128, 2), "lora_down.weight": rand(2, 128)}
    tensors = {
        f"{layer}.{leaf}": tensor
        for layer, leaves in {
            "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": pair,
            "lora_te2_text_model_encoder_layers_2_mlp_fc1": {**big, "lora_up.weight": rand(256, 2)},
            "lora_unet_input_blocks_3_1_transformer_blocks_1_attn1_to_out_0": big,
            "lora_unet_middle_block_1_proj_in": big,
            "lora_unet_output_blocks_0_1_transformer_blocks_0_ff_net_2": {**big, "lora_down.weight": rand(2, 512)},
        }.items()
        for leaf, tensor in leaves.items()
    }
    assert model.set_adapters((write(tensors),)) == ()
    assert changed(before, weights(model)) == {
        "te0.encoder.layers.0.self_attn.q_proj.weight",
        "te1.encoder.layers.2.mlp.fc1.weight",
        "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_out.0.weight",
        "unet.mid_block.attentions.0.proj_in.weight",
        "unet.up_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight",
    }


def test_layers_that_are_not_there_are_named(tiny_unet: nn.Module, write: Callable[..., Adapter]) -> None:
    used = Adapters(layer_names(tiny_unet, [], tiny_names()))
    extra = {"lora_unet_nowhere.lora_up.weight": up, "lora_unet_nowhere.lora_down.weight": down}
    both = write({**FORMS["kohya"][0], **extra})
    assert used.use((both,)) == (f"{both.name}: lora_unet_nowhere",)
    with pytest.raises(ModelError, match="none of this checkpoint's layers"):
        used.use((write(extra),))
    assert used.active == ()


BAD: dict[str, tuple[dict[str, Tensor], type[Exception], str]] = {
    "another width": (
        {f"{kohya}.lora_up.weight": rand(64, 4), f"{kohya}.lora_down.weight": rand(4, 64)},
        ModelError,
        "another kind of model",
    ),
    "ranks that differ": (
        {f"{kohya}.lora_up.weight": rand(32, 4), f"{kohya}.lora_down.weight": rand(5, 32)},
        ModelError,
        "another kind of model",
    ),
    "half a pair": ({f"{kohya}.lora_up.weight": up}, ModelError, "does not know"),
    "OFT": ({f"{kohya}.oft_blocks": rand(2, 4, 4)}, ModelError, "does not know"),
    "GLoRA": ({f"{kohya}.a1.weight": up, f"{kohya}.a2.weight": down}, ModelError, "does not know"),
    "no LoRA at all": ({"something.weight": up}, ModelError, "no LoRA format"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_applied_is_refused_and_changes_nothing(
    case: str, tiny_unet: nn.Module, write: Callable[..., Adapter]
) -> None:
    tensors, error, words = BAD[case]
    used = Adapters(layer_names(tiny_unet, [], tiny_names()))
    before = {name: tensor.clone() for name, tensor in tiny_unet.state_dict().items()}
    with pytest.raises(error, match=words) as caught:
        used.use((write(FORMS["kohya"][0]), write(tensors)))
    assert "made" in str(caught.value)
    assert changed(before, tiny_unet.state_dict()) == set()
    assert used.active == ()


def test_absurd_weights_do_not_crash(tiny: LoadedCheckpoint, tiny_store: ModelStore) -> None:
    lora = tiny_store.find("lora", "tinylora").path
    before = weights(tiny)
    for weight in (1e30, float("inf"), float("nan")):
        tiny.set_adapters((adapter(lora, text_weight=weight, unet_weight=weight),))
        tiny.predict(torch.randn(1, 4, 8, 8), torch.tensor([1.0]), tiny.encode_texts(["a"]).context)
    tiny.set_adapters(())
    assert changed(before, weights(tiny)) == set()


def test_files_that_are_no_safetensors_are_refused(tiny: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(b"\x80\x02" + bytes(100))
    with pytest.raises(RefusedFile, match=r"evil\.safetensors"):
        tiny.set_adapters((adapter(path),))
    with pytest.raises(RefusedFile, match=r"evil\.safetensors"):
        tiny.set_adapters((adapter(path, kind="hypernetwork"),))
