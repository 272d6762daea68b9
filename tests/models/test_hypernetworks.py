"""Hypernetworks against modules built here as A1111 describes them, from A1111's pickle to the denoiser's output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from easel.errors import ModelError
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.convert import convert
from easel.values.prompt import Adapter

WIDTHS = (32, 64)  # tiny's blocks (32 and 64) and its texts (64)
Pair = dict[int, tuple[nn.Sequential, nn.Sequential]]


def module(width: int, structure: Sequence[float], activation: nn.Module | None, **told: Any) -> nn.Sequential:
    """One branch in A1111's order: linear, activation, norm, dropout."""
    layers: list[nn.Module] = []
    last = len(structure) - 2
    for i in range(last + 1):
        layers.append(nn.Linear(int(width * structure[i]), int(width * structure[i + 1])))
        if activation is not None and (i < last or told.get("activate_output", True)):
            layers.append(activation)
        if told.get("is_layer_norm"):
            layers.append(nn.LayerNorm(int(width * structure[i + 1])))
        if told.get("use_dropout") and i < last:
            layers.append(nn.Dropout(0.3))
    made = nn.Sequential(*layers).eval()
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape) * 0.3
    return made


def pickled(path: Path, pairs: Pair, **told: Any) -> None:
    """A file as A1111 writes it."""
    states: dict[object, object] = {
        width: tuple({f"linear.{name}": tensor for name, tensor in one.state_dict().items()} for one in pair)
        for width, pair in pairs.items()
    }
    about = {"step": 100, "name": path.stem, "sd_checkpoint_name": None}
    torch.save(states | about | told, path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Pair, Adapter]]:
    """A hypernetwork and its converted file as an adapter."""

    def make(
        name: str = "hyper", widths: Sequence[int] = WIDTHS, function: nn.Module | None = None, **told: Any
    ) -> tuple[Pair, Adapter]:
        structure = told.get("layer_structure", [1, 2, 1])
        form = {key: told[key] for key in ("activate_output", "is_layer_norm", "use_dropout") if key in told}
        pairs = {
            width: (module(width, structure, function, **form), module(width, structure, function, **form))
            for width in widths
        }
        pickled(tmp_path / f"{name}.pt", pairs, **told)
        target = tmp_path / f"{name}.safetensors"
        convert(tmp_path / f"{name}.pt", target)
        return pairs, Adapter(kind="hypernetwork", name=name, file=str(target))

    return make


def predicted(model: LoadedCheckpoint) -> Tensor:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    context = torch.randn(2, 77, 64, generator=torch.Generator().manual_seed(2))
    return model.predict(x, torch.tensor([500.0, 3.0]), context)


def by_hand(model: LoadedCheckpoint, *applied: tuple[Pair, float]) -> Tensor:
    """The formula, around the plain layers: context + network(context) * multiplier, one network after the other."""
    plain = []

    def wrapped(forward: Callable[[Tensor], Tensor], side: int) -> Callable[[Tensor], Tensor]:
        def run(context: Tensor) -> Tensor:
            for pairs, multiplier in applied:
                if context.shape[2] in pairs:
                    context = context + pairs[context.shape[2]][side](context) * multiplier
            return forward(context)

        return run

    for name, layer in model.unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            for side, part in enumerate((layer.to_k, layer.to_v)):
                plain.append(part)
                part.forward = wrapped(part.forward, side)
    try:
        return predicted(model)
    finally:
        assert len(plain) > 8
        for part in plain:
            del part.forward


FORMS: dict[str, tuple[nn.Module | None, dict[str, Any]]] = {
    "plain": (None, {}),
    "relu": (nn.ReLU(), {"activation_func": "relu", "activate_output": False}),
    "swish, norms, dropout": (
        nn.Hardswish(),
        {
            "layer_structure": [1, 1.5, 2, 1],
            "activation_func": "swish",
            "activate_output": True,
            "is_layer_norm": True,
            "use_dropout": True,
        },
    ),
    "an old file's output is activated": (nn.Tanh(), {"activation_func": "tanh"}),
}


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_denoiser_answers_as_the_formula_says(
    form: str, tiny: LoadedCheckpoint, write: Callable[..., tuple[Pair, Adapter]]
) -> None:
    function, told = FORMS[form]
    pairs, adapter = write(function=function, **told)
    plain = predicted(tiny)
    expected = by_hand(tiny, (pairs, 1.0))
    assert tiny.set_adapters((adapter,)) == ()
    got = predicted(tiny)
    assert torch.allclose(got, expected, atol=1e-5)
    assert not torch.allclose(got, plain, atol=1e-2)
    tiny.set_adapters(())
    assert torch.equal(predicted(tiny), plain)


@torch.no_grad()
def test_several_at_once_with_a_lora_and_restored_to_the_bit(
    tiny: LoadedCheckpoint, tiny_store: Any, write: Callable[..., tuple[Pair, Adapter]]
) -> None:
    one, two = write("one"), write("two", function=nn.ELU(), activation_func="elu")
    lora = Adapter(name="tinylora", file=str(tiny_store.find("lora", "tinylora").path))

    def of(adapter: Adapter, weight: float) -> Adapter:
        return Adapter(kind="hypernetwork", name=adapter.name, file=adapter.file, unet_weight=weight)

    weights = {name: tensor.clone() for name, tensor in tiny.unet.state_dict().items()}
    plain = predicted(tiny)
    tiny.set_adapters((lora,))
    expected = by_hand(tiny, (one[0], 0.5), (two[0], -0.25))
    tiny.set_adapters((of(one[1], 0.5), lora, of(two[1], -0.25)))
    assert torch.allclose(predicted(tiny), expected, atol=1e-5)
    tiny.set_adapters((of(one[1], 0.0),))
    assert torch.equal(predicted(tiny), plain)
    tiny.set_adapters(())
    assert torch.equal(predicted(tiny), plain)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny.unet.state_dict().items())


@torch.no_grad()
def test_a_width_that_the_checkpoint_does_not_have_is_named(
    tiny: LoadedCheckpoint, write: Callable[..., tuple[Pair, Adapter]]
) -> None:
    plain = predicted(tiny)
    pairs, some = write("some", (32, 768))
    assert tiny.set_adapters((some,)) == ("some: width 768",)
    assert torch.allclose(predicted(tiny), by_hand_without(tiny, pairs), atol=1e-5)
    with pytest.raises(ModelError, match=r"none: made for another kind of model; it is for widths 768, 1024, this"):
        tiny.set_adapters((some, write("none", (768, 1024))[1]))
    assert torch.equal(predicted(tiny), plain)


def by_hand_without(model: LoadedCheckpoint, pairs: Pair) -> Tensor:
    used = model.adapters.active
    model.set_adapters(())
    expected = by_hand(model, (pairs, 1.0))
    model.set_adapters(used)
    return expected


def test_what_a_converted_file_holds(write: Callable[..., tuple[Pair, Adapter]], tmp_path: Path) -> None:
    pairs, adapter = write(function=nn.ReLU(), activation_func="relu", activate_output=False, layer_structure=[1, 1, 1])
    tensors = load_file(adapter.file)
    layers = [f"linear.{n}.{leaf}" for n in (0, 2) for leaf in ("bias", "weight")]
    assert sorted(tensors) == sorted(f"{width}.{side}.{layer}" for width in WIDTHS for side in "kv" for layer in layers)
    assert torch.equal(tensors["64.v.linear.2.weight"], pairs[64][1].state_dict()["2.weight"])
    with safe_open(adapter.file, "pt") as file:
        told = json.loads(file.metadata()["hypernetwork"])
    assert told == {
        "name": "hyper",
        "step": 100,
        "layer_structure": [1, 1, 1],
        "activation_func": "relu",
        "activate_output": False,
    }


@torch.no_grad()
def test_the_oldest_files_have_two_linear_layers(tiny: LoadedCheckpoint, tmp_path: Path) -> None:
    pair = (module(64, [1, 2, 1], None), module(64, [1, 2, 1], None))
    names = {"0": "linear1", "1": "linear2"}
    states = [{f"{names[name[0]]}{name[1:]}": x for name, x in one.state_dict().items()} for one in pair]
    torch.save({64: tuple(states)}, tmp_path / "old.pt")
    convert(tmp_path / "old.pt", tmp_path / "old.safetensors")
    expected = by_hand(tiny, ({64: pair}, 1.0))
    tiny.set_adapters((Adapter(kind="hypernetwork", name="old", file=str(tmp_path / "old.safetensors")),))
    assert torch.allclose(predicted(tiny), expected, atol=1e-5)


def network(**changes: Tensor) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for side in "kv":
        tensors |= {f"64.{side}.linear.0.weight": torch.zeros(64, 64), f"64.{side}.linear.0.bias": torch.zeros(64)}
    return tensors | changes


FOREIGN: dict[str, tuple[dict[str, Tensor], str, str]] = {
    "a LoRA": ({"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, "{}", "belongs to no hypernetwork"),
    "only keys": (
        {name: x for name, x in network().items() if ".k." in name},
        "{}",
        "width 64 has only one of keys and values",
    ),
    "no bias": (
        {name: x for name, x in network().items() if name != "64.k.linear.0.bias"},
        "{}",
        "64.k: layer 0 lacks",
    ),
    "another shape": (
        network(**{"64.k.linear.0.weight": torch.zeros(64, 32)}),
        "{}",
        r"64.k: layer 0 has the shape \(64",
    ),
    "an open end": (
        network(**{"64.v.linear.1.weight": torch.zeros(32, 64), "64.v.linear.1.bias": torch.zeros(32)}),
        "{}",
        "64.v: the layers do not lead from 64 values to 64",
    ),
    "an unknown function": (network(), '{"activation_func": "prelu"}', "'prelu' is not known; known are linear, swish"),
    "no object": (network(), "[[[", "no JSON object"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_hypernetwork_is_refused(case: str, tiny: LoadedCheckpoint, tmp_path: Path) -> None:
    tensors, told, words = FOREIGN[case]
    path = tmp_path / "foreign.safetensors"
    save_file(tensors, path, metadata={"hypernetwork": told})
    with pytest.raises(ModelError, match=f"foreign: .*{words}"):
        tiny.set_adapters((Adapter(kind="hypernetwork", name="foreign", file=str(path)),))
    assert tiny.adapters.active == ()
