"""The list routes, against what A1111 answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Serve, Service, png


@pytest.mark.parametrize("route", ["samplers", "schedulers", "latent-upscale-modes"])
def test_tables_are_a1111s(service: Service, recorded: Callable[[str], Any], route: str) -> None:
    assert service.get(route) == recorded(f"api/get_{route.replace('-', '_')}")["body"]


def test_the_first_upscalers_are_a1111s(service: Service, recorded: Callable[[str], Any]) -> None:
    assert service.get("upscalers")[:3] == recorded("api/get_upscalers")["body"][:3]


def test_checkpoints(serve: Serve, recorded: Callable[[str], Any]) -> None:
    service = serve(models=("tiny", "tiny2"))
    listed, golden = service.get("sd-models"), recorded("api/get_sd_models")["body"]
    assert [row["model_name"] for row in listed] == ["tiny", "tiny2"]
    assert all(list(row) == list(golden[0]) for row in listed)
    assert listed[0]["filename"] == "models/Stable-diffusion/tiny.safetensors"  # no path of the host


def test_without_checkpoints_there_is_the_starter(serve: Serve) -> None:
    assert [row["title"] for row in serve(models=()).get("sd-models")] == ["starter"]


def test_new_files_appear_after_refresh(serve: Serve, recorded: Callable[[str], Any], tiny_data: Any) -> None:
    service = serve()
    (service.data / "models/Stable-diffusion/tiny2.safetensors").symlink_to(
        tiny_data / "models/Stable-diffusion/tiny2.safetensors"
    )
    answer = service.client.post("/sdapi/v1/refresh-checkpoints", json="")
    assert (answer.status_code, answer.json()) == (200, recorded("api/post_refresh-checkpoints")["body"])
    assert len(service.get("sd-models")) == 2


def test_vaes_loras_and_embeddings(serve: Serve, tiny_data: Any, recorded: Callable[[str], Any]) -> None:
    service = serve()
    files = ("models/VAE/othervae.safetensors", "models/Lora/tinylora.safetensors", "embeddings/tinyemb.safetensors")
    for name in files:
        (service.data / name).symlink_to(tiny_data / name)
    service.post("refresh-vae", {})
    assert [row["model_name"] for row in service.get("sd-vae")] == ["othervae.safetensors"]
    lora, golden = service.get("loras")[0], recorded("api/get_loras")["body"][0]
    assert (list(lora), lora["name"]) == (list(golden), "tinylora")
    assert lora["path"] == "models/Lora/tinylora.safetensors"
    embeddings, golden = service.get("embeddings"), recorded("api/get_embeddings")["body"]
    assert embeddings == golden | {"loaded": {"tinyemb": golden["loaded"]["tinyemb"] | {"step": None}}}


def test_styles(serve: Serve, recorded: Callable[[str], Any]) -> None:
    service = serve()
    rows = recorded("api/get_prompt_styles")["body"]
    lines = [f'{one["name"]},"{one["prompt"]}","{one["negative_prompt"]}"' for one in rows]
    (service.data / "styles.csv").write_text("\ufeffname,prompt,negative_prompt\n" + "\n".join(lines) + "\n")
    assert service.get("prompt-styles") == rows


def test_scripts_have_two_tabs(service: Service) -> None:
    assert set(service.get("scripts")) == {"txt2img", "img2img"}
    assert isinstance(service.get("script-info"), list)


def test_memory_has_the_recorded_shape(service: Service, recorded: Callable[[str], Any]) -> None:
    memory, golden = service.get("memory"), recorded("api/get_memory")["body"]
    assert set(memory["ram"]) == set(golden["ram"])
    assert memory["ram"]["used"] + memory["ram"]["free"] == memory["ram"]["total"]
    assert memory["cuda"] == golden["cuda"]


def test_cmd_flags_have_the_recorded_names(service: Service, recorded: Callable[[str], Any]) -> None:
    flags = service.get("cmd-flags")
    assert list(flags) == list(recorded("api/get_cmd_flags")["body"])
    assert (flags["data_dir"], flags["embeddings_dir"], flags["api"]) == (".", "embeddings", True)
    assert str(service.data) not in str(flags)


def test_png_info_of_a_plain_picture(service: Service, recorded: Callable[[str], Any]) -> None:
    golden = recorded("api/png_info_plain")
    assert service.post("png-info", golden["request"]["json"]) == golden["body"]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_png_info_reads_a1111s_infotext(service: Service, recorded: Callable[[str], Any], prefix: str) -> None:
    golden = recorded("api/png_info_generated")["body"]
    assert service.post("png-info", {"image": prefix + png(parameters=golden["info"])}) == golden


def test_png_info_reads_what_txt2img_made(service: Service) -> None:
    made = service.post("txt2img", {"prompt": "a cat, sitting", "seed": 7, "steps": 3, "width": 64, "height": 64})
    answer = service.post("png-info", {"image": made["images"][0]})
    assert answer["info"].startswith("a cat, sitting\nSteps: 3, Sampler: Euler,")
    assert answer["parameters"]["Seed"] == "7"


def test_png_info_needs_its_field(service: Service, recorded: Callable[[str], Any]) -> None:
    golden = recorded("api/png_info_nofield")
    answer = service.client.post("/sdapi/v1/png-info", json={})
    assert (answer.status_code, answer.json()) == (golden["status"], golden["body"])


@pytest.mark.parametrize("image", ["", "!!!", "aGVsbG8="])
def test_png_info_refuses_what_is_no_picture(service: Service, image: str) -> None:
    status, detail = service.refused("png-info", {"image": image})
    assert status == 422
    assert detail.startswith("image: ")
