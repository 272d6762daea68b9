"""Real clients, as PyPI has them, and the recipes of the docs, against a real server."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import webuiapi
from PIL import Image
from sd_backend_client import A1111Webservice, DiffusionParams, DiffusionRequestBody, connect_to_backend

from .conftest import Service, start

RECIPES = Path(__file__).parents[2] / "docs" / "api-recipes.md"
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
SIZE = {"steps": 4, "width": 64, "height": 64}


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The service at a real port; its address."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        # The test client keeps the service started: a second lifespan would start it twice.
        config = uvicorn.Config(service.client.app, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([place])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[tuple[Service, str]]:
    data = tmp_path_factory.mktemp("clients")
    (data / "models").mkdir()
    (data / "models" / "ControlNet").symlink_to(tiny_data / "models" / "ControlNet")
    with ExitStack() as stack:
        service = start(stack, data, tiny_data, models=("tiny", "tiny2"))
        yield service, stack.enter_context(listening(service))


@pytest.fixture(scope="module")
def url(live: tuple[Service, str]) -> str:
    return live[1]


@pytest.fixture
def api(url: str) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(baseurl=f"{url}/sdapi/v1")


@pytest.fixture
def picture() -> Image.Image:
    return Image.linear_gradient("L").convert("RGB").resize((64, 64))


class TestWebuiapi:
    def test_pictures(self, api: webuiapi.WebUIApi, picture: Image.Image) -> None:
        made = api.txt2img(prompt="a cat", seed=5, batch_size=2, **SIZE)
        assert [one.size for one in made.images] == [(64, 64)] * 2 and made.info["all_seeds"] == [5, 6]
        hires = api.txt2img(
            prompt="a cat", enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent, **SIZE
        )
        assert hires.image.size == (128, 128)
        redone = api.img2img(images=[picture], prompt="a dog", **SIZE)
        masked = api.img2img(images=[picture], mask_image=picture.convert("L"), inpainting_fill=1, **SIZE)
        assert redone.image.size == masked.image.size == (64, 64)
        assert api.txt2img(prompt="x", override_settings={"sd_model_checkpoint": "tiny2"}, **SIZE).info[
            "sd_model_name"
        ] == "tiny2"  # fmt: skip

    def test_extras(self, api: webuiapi.WebUIApi, picture: Image.Image) -> None:
        one = api.extra_single_image(picture, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
        assert one.image.size == (128, 128) and "Lanczos" in one.info
        several = api.extra_batch_images([picture, picture], upscaler_1="Nearest", upscaling_resize=1.5)
        assert [made.size for made in several.images] == [(96, 96)] * 2

    def test_controlnet(self, api: webuiapi.WebUIApi, picture: Image.Image) -> None:
        assert api.controlnet_version() >= 2
        assert "canny" in api.controlnet_module_list() and len(api.controlnet_model_list()) >= 2
        assert api.controlnet_detect([picture], module="canny").image.size[1] == 512
        unit = webuiapi.ControlNetUnit(image=picture, module="reference_only", weight=0.7)
        assert api.txt2img(prompt="a cat", controlnet_units=[unit], **SIZE).image.size == (64, 64)

    def test_infotext(self, api: webuiapi.WebUIApi) -> None:
        made = api.txt2img(prompt="a cat", seed=5, **SIZE)
        assert api.png_info(made.image).info.startswith("a cat\nSteps: 4, Sampler: Euler a")

    def test_lists(self, api: webuiapi.WebUIApi) -> None:
        assert [one["name"] for one in api.get_upscalers()][:3] == ["None", "Lanczos", "Nearest"]
        assert api.util_get_model_names() == sorted(one["title"] for one in api.get_sd_models())
        assert "Euler a" in api.util_get_sampler_names() and "karras" in api.util_get_scheduler_names()
        assert api.get_schedulers() and api.get_samplers() and len(api.get_latent_upscale_modes()) == 6
        for many in (
            api.get_sd_vae(),
            api.get_loras(),
            api.get_prompt_styles(),
            api.get_hypernetworks(),
            api.get_face_restorers(),
            api.get_realesrgan_models(),
        ):
            assert isinstance(many, list)
        assert "loaded" in api.get_embeddings() and set(api.get_scripts()) == {"txt2img", "img2img"}
        assert api.get_cmd_flags()["api"] is True and "ram" in api.get_memory()
        assert "detail" in api.get_artists() and "detail" in api.get_artist_categories()  # gone since 1.0

    def test_the_server(self, api: webuiapi.WebUIApi) -> None:
        assert api.interrupt() == {} and api.skip() is None and api.refresh_checkpoints() is None
        assert api.get_progress()["state"]["job_count"] == 0
        api.util_wait_for_ready()
        assert api.set_options({"samples_format": "png"}) is None
        api.util_set_model("tiny2")
        assert api.util_get_current_model().startswith("tiny2.safetensors")
        api.util_set_model("tiny.safetensors")
        whole = api.get_options()
        assert api.set_options(whole) is None and api.get_options() == whole

    def test_what_is_not_done_here_is_an_error(self, api: webuiapi.WebUIApi, picture: Image.Image) -> None:
        with pytest.raises(RuntimeError, match="501") as caught:
            api.interrogate(picture)
        assert "not part of this service" in str(caught.value)


class TestSdBackendClient:
    def test_it_is_recognised(self, url: str) -> None:
        assert isinstance(connect_to_backend(url), A1111Webservice)

    def test_pictures(self, url: str, picture: Image.Image) -> None:
        backend = A1111Webservice(url)
        params = DiffusionParams(prompt="a cat", steps=4, width=64, height=64, seed=7, batch_size=2)
        made = backend.submit_txt2img(params).wait(timeout=60, poll_interval=0.05)
        assert [one.size for one in made.images] == [(64, 64)] * 2 and list(made.seeds) == [7, 8]
        body = DiffusionRequestBody(prompt="a dog", steps=4, width=64, height=64, seed=7)
        body.init_images = [picture]
        assert len(backend.submit_img2img(body).wait(timeout=60, poll_interval=0.05).images) == 1
        body.mask = picture.convert("L")
        assert len(backend.submit_inpaint(body).wait(timeout=60, poll_interval=0.05).images) == 1

    def test_extras_and_controlnet(self, url: str, picture: Image.Image) -> None:
        backend = A1111Webservice(url)
        large = backend.submit_upscale(picture, 128, 128).wait(timeout=60, poll_interval=0.05)
        assert large.images[0].size == (128, 128)
        found = {one.name.lower(): one for one in backend.get_controlnet_preprocessors()}
        seen = backend.submit_preprocessor_preview(picture, found["canny"]).wait(timeout=60, poll_interval=0.05)
        assert len(seen.images) == 1
        assert backend.get_controlnet_version() >= 2 and backend.get_controlnet_settings()
        assert "Canny" in backend.get_controlnet_type_categories() and backend.get_controlnet_control_types()
        assert len(backend.list_controlnet_models()) >= 2 and backend.list_hypernetworks() == []
        assert backend.get_soft_inpainting_parameters()

    def test_lists(self, url: str) -> None:
        backend = A1111Webservice(url)
        assert {"tiny", "tiny2"} <= {Path(one.name).stem.partition(".")[0] for one in backend.list_checkpoints()}
        for many in (backend.list_samplers(), backend.list_schedulers(), backend.list_upscalers()):
            assert len(many) >= 2
        for some in (backend.list_vaes(), backend.list_loras(), backend.get_styles(), backend.get_script_info()):
            assert isinstance(some, list)
        assert backend.get_config()["sd_model_checkpoint"] and backend.get_scripts()
        assert backend.progress_check().progress == 0 and backend.interrupt() == {}
        assert backend.get_capabilities() is not None
        for refreshed in (backend.refresh_checkpoints(), backend.refresh_vae(), backend.refresh_loras()):
            assert refreshed.status_code == 200
        assert backend.login_check().status_code == 200


@pytest.mark.parametrize("number", range(len(FENCE.findall(RECIPES.read_text()))))
def test_recipes_run_as_they_stand(url: str, number: int, tmp_path: Path) -> None:
    language, code = FENCE.findall(RECIPES.read_text())[number]
    port = url.rpartition(":")[2]
    code = code.replace("127.0.0.1:7860", f"127.0.0.1:{port}").replace("port=7860", f"port={port}")
    commands: dict[str, Any] = {
        "sh": ["bash", "-euo", "pipefail", "-c", code],
        "python": [sys.executable, "-c", code],
        "js": ["node", "--input-type=module", "-e", code],
    }
    if shutil.which(commands[language][0]) is None:
        pytest.skip(f"{commands[language][0]} is not installed")
    done = subprocess.run(commands[language], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for file in tmp_path.glob("*.png"):
        with Image.open(file) as made:
            made.verify()
