"""PAI-EAS' additions to A1111's API (S-037, S-040 to S-053, S-061, S-100 to S-109), as its samples use them."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Serve, Service, opened, png, start

SMALL = {"prompt": "a dog", "steps": 4, "width": 64, "height": 64, "seed": 7, "subseed": 1}


def pai(**keys: Any) -> dict[str, Any]:
    return SMALL | {"alwayson_scripts": keys}


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    """A server on this machine that has one picture."""

    class OnePicture(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/in.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(base64.b64decode(png()) if found else b"")

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnePicture) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/in.png"
        server.shutdown()


def test_saved_pictures_are_named_not_sent(service: Service) -> None:
    body = pai(save_dir="tmp/outputs", id_task="job_001", uid="u1") | {"n_iter": 2}
    answer = service.post("txt2img", body)
    parameters = answer["parameters"]
    assert answer["images"] == []
    keys = ["id_task", "status", "image_url", "seed", "error_msg", "total_time", "warnings"]
    assert list(parameters) == keys
    assert (parameters["id_task"], parameters["status"], parameters["error_msg"]) == ("job_001", 0, "")
    assert parameters["seed"] == "7,8" and parameters["total_time"] > 0 and parameters["warnings"] == []
    grid, *pictures = (Path(one) for one in parameters["image_url"].split(","))
    assert grid.is_relative_to(service.data / "tmp/outputs/txt2img-grids") and grid.name.startswith("grid-")
    assert [one.parent.parent.name for one in pictures] == ["txt2img-images"] * 2
    assert [one.stem.rsplit("-", 1)[1] for one in pictures] == ["7", "8"]
    for one in pictures:
        with Image.open(one) as picture:
            assert picture.size == (64, 64)
    info = json.loads(answer["info"])
    assert info["all_seeds"] == [7, 8]
    job = service.client.get(f"/easel/v1/jobs/{info['easel']['job']}").json()
    assert (job["id_task"], len(job["images"])) == ("job_001", 3)


def test_an_absolute_save_dir_below_the_data_folder(service: Service) -> None:
    folder = service.data / "mine"
    parameters = service.post("txt2img", pai(save_dir=str(folder)))["parameters"]
    assert Path(parameters["image_url"]).is_relative_to(folder)
    assert parameters["id_task"]  # made when there is none


def test_a_saved_picture_is_there_by_url(service: Service) -> None:
    path = service.post("txt2img", pai(save_dir="by-url"))["parameters"]["image_url"]
    for name in (path, path.removeprefix(f"{service.data}/")):
        answer = service.client.get(f"/file={name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.content == Path(path).read_bytes()
    assert service.client.get("/sd_extra_networks/thumb", params={"filename": path}).content == answer.content
    assert service.client.get("/sd_extra_networks/thumb?filename=/etc/passwd").status_code == 403


@pytest.mark.parametrize(
    "path", ["../x.png", "/etc/passwd", ".easel/options.json", "users/ann/a.png", "models/Stable-diffusion/x.yaml", ""]
)
def test_nothing_but_pictures_by_url(service: Service, path: str) -> None:
    answer = service.client.get(f"/file={path}")
    assert answer.status_code == 403 and answer.json()["detail"] == f"File not allowed: {path}"


def test_a_missing_file(service: Service) -> None:
    answer = service.client.get("/file=outputs/none.png")
    assert (answer.status_code, answer.json()["detail"]) == (404, "File not found: outputs/none.png")


@pytest.mark.parametrize("save_dir", ["../../etc", "/etc", "a/../../b", ".easel", "extensions/x", "users/ann", "a\0b"])
def test_save_dir_cannot_leave_the_data_folder(service: Service, save_dir: str) -> None:
    before = len(service.engine.calls)
    answer = service.client.post("/sdapi/v1/txt2img", json=pai(save_dir=save_dir, id_task="t"))
    assert answer.status_code in (403, 422)
    parameters = answer.json()["parameters"]
    assert (parameters["id_task"], parameters["image_url"]) == ("t", "")
    assert parameters["status"] in (10, 17) and parameters["error_msg"] == answer.json()["detail"]
    assert str(service.data) not in answer.text and len(service.engine.calls) == before


def test_a_link_as_save_dir_leads_nowhere(service: Service, tmp_path: Path) -> None:
    (service.data / "leak").symlink_to(tmp_path)
    answer = service.client.post("/sdapi/v1/txt2img", json=pai(save_dir="leak"))
    assert answer.status_code == 403 and answer.json()["parameters"]["status"] == 17
    assert list(tmp_path.iterdir()) == []


def test_the_plain_answer_stays_as_it_was(service: Service) -> None:
    answer = service.post("txt2img", SMALL)
    assert answer["parameters"]["prompt"] == "a dog" and len(answer["images"]) == 1


def test_pictures_are_sent_without_save_dir(service: Service) -> None:
    answer = service.post("txt2img", pai(sd_vae="Automatic"))
    assert len(answer["images"]) == 1 and answer["parameters"]["image_url"] == ""


def test_the_model_of_one_request(serve: Serve) -> None:
    service = serve(models=("tiny", "tiny2"))
    first = service.info("txt2img", pai(sd_model_checkpoint="tiny2.safetensors"))
    assert first["sd_model_name"] == "tiny2"
    assert service.info("txt2img", SMALL)["sd_model_name"] == "tiny"
    both = pai(sd_model_checkpoint="tiny2") | {"override_settings": {"sd_model_checkpoint": "tiny"}}
    status, detail = service.refused("txt2img", both)
    assert status == 422 and "alwayson_scripts.sd_model_checkpoint: contradicts itself" in detail


def test_an_unknown_model_is_never_another(service: Service) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", json=pai(sd_model_checkpoint="tinny.safetensors"))
    assert (answer.status_code, answer.json()["parameters"]["status"]) == (422, 12)
    message = answer.json()["parameters"]["error_msg"]
    assert message.startswith("alwayson_scripts.sd_model_checkpoint: unknown name") and "did you mean 'tiny" in message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"save_dirr": "x"}, "Script 'save_dirr' not found; did you mean 'save_dir'?"),
        ({"uid": 5}, "alwayson_scripts.uid: wrong type"),
        ({"uid": "x" * 300}, "alwayson_scripts.uid: no usable text"),
        ({"sd_vae": "none.vae"}, "none.vae"),
    ],
)
def test_wrong_keys_are_refused(service: Service, keys: dict[str, Any], said: str) -> None:
    status, detail = service.refused("txt2img", pai(**keys))
    assert status == 422 and said in detail


def test_a_body_that_cannot_be_read_has_the_envelope_too(service: Service) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", json=pai(id_task="t") | {"steps": "many"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "type_error.integer"
    parameters = answer.json()["parameters"]
    assert (parameters["status"], parameters["id_task"]) == (10, "t")
    assert parameters["error_msg"] == "steps: value is not a valid integer"


def test_a_linked_picture_is_as_good_as_a_sent_one(serve: Serve, link: str) -> None:
    service = serve("--fetch-allow", "127.0.0.1")
    by_link = service.post("img2img", pai(image_link=link) | {"init_images": []})
    sent = service.post("img2img", SMALL | {"init_images": [png()]})
    assert by_link["images"] == sent["images"]
    both = service.post("img2img", pai(image_link=f"{link}?other") | {"init_images": [png()]})
    assert both["images"] == sent["images"]
    assert both["parameters"]["warnings"] == ["alwayson_scripts.image_link: init_images was sent too"]
    missing = service.client.post("/sdapi/v1/img2img", json=pai(image_link=f"{link}x"))
    assert missing.status_code == 422
    message = missing.json()["parameters"]["error_msg"]
    assert message.startswith("alwayson_scripts.image_link: cannot be fetched (status 404)")


def test_no_picture_at_all(service: Service) -> None:
    answer = service.client.post("/sdapi/v1/img2img", json=pai(id_task="t") | {"init_images": []})
    assert answer.status_code == 422 and answer.json()["parameters"]["status"] == 10


def test_a_linked_picture_from_inside_is_refused(service: Service, link: str) -> None:
    answer = service.client.post("/sdapi/v1/img2img", json=pai(image_link=link))
    assert answer.status_code == 422
    assert "not on the public internet" in answer.json()["parameters"]["error_msg"]


# The vendor's three samples, their values as published; pictures are small here, models and the link are ours.
SAMPLE = {"prompt": "cute dog ", "negative_prompt": "", "steps": 4, "width": 64, "height": 64, "cfg_scale": 7}
OUTPAINTING = {
    "alwayson_scripts": {
        "sd_model_checkpoint": "tiny.safetensors",
        "image_link": "LINK",
        "sd_vae": "Automatic",
        "save_dir": "data-oss/outputs",
        "id_task": "14837",
        "uid": "123",
    },
    "prompt": "girl",
    "steps": 4,
    "sampler_name": "DDIM",
    "restore_faces": False,
    "tiling": False,
    "n_iter": 2,
    "batch_size": 1,
    "init_images": [],
    "mask_blur": 4,
    "resize_mode": 1,
    "denoising_strength": 0.45,
    "mask": None,
    "inpainting_mask_invert": 0,
    "inpainting_fill": 0,
    "inpaint_full_res": 0,
    "inpaint_full_res_padding": 32,
    "width": 64,
    "height": 64,
    "seed": 1234,
    "subseed": 1111,
    "subseed_strength": 0,
    "seed_resize_from_h": 0,
    "seed_resize_from_w": 0,
    "seed_enable_extras": False,
    "cfg_scale": 7.5,
    "script_name": "Outpainting mk2",
    "script_args": ["Outpainting", 128, 8, ["left", "right", "up", "down"], 1, 0.05],
}
UNIT = {
    "image_link": "LINK",
    "enabled": True,
    "module": "canny",
    "model": "control_v11p_sd15_canny",
    "weight": 1,
    "resize_mode": "Crop and Resize",
    "low_vram": False,
    "processor_res": 512,
    "threshold_a": 100,
    "threshold_b": 200,
    "guidance_start": 0,
    "guidance_end": 1,
    "pixel_perfect": True,
    "control_mode": "Balanced",
    "input_mode": "simple",
    "batch_images": "",
    "output_dir": "",
    "loopback": False,
}


def linked(sample: Any, link: str) -> Any:
    return json.loads(json.dumps(sample).replace("LINK", link))


def files(answer: dict[str, Any], key: str = "image_url") -> list[Path]:
    found = [Path(one) for one in answer["parameters"][key].split(",")]
    for one in found:
        with Image.open(one) as picture:
            picture.verify()
    return found


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("vendors")
    (data / "models").mkdir()
    (data / "models" / "ControlNet").symlink_to(tiny_data / "models" / "ControlNet")
    with ExitStack() as stack:
        yield start(stack, data, tiny_data, "--fetch-allow", "127.0.0.1", "--token", "secret")


def send(vendors: Service, route: str, body: Any) -> Any:
    answer = vendors.client.post(f"/sdapi/v1/{route}", json=body, headers={"Authorization": "secret"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_samples_picture(vendors: Service) -> None:
    plain = send(vendors, "txt2img", SAMPLE)
    assert opened(plain["images"][0]).size == (64, 64)
    save = {"sd_model_checkpoint": "tiny.safetensors", "save_dir": str(vendors.data / "data-oss" / "outputs")}
    saved = send(vendors, "txt2img", SAMPLE | {"alwayson_scripts": save})
    assert saved["images"] == [] and files(saved)[0].is_relative_to(vendors.data / "data-oss" / "outputs")


def test_the_samples_outpainting(vendors: Service, link: str) -> None:
    answer = send(vendors, "img2img", linked(OUTPAINTING, link))
    parameters = answer["parameters"]
    assert (answer["images"], parameters["id_task"], parameters["status"]) == ([], "14837", 0)
    sizes = [Image.open(io.BytesIO(one.read_bytes())).size for one in files(answer)]
    assert (320, 320) in sizes and parameters["seed"].startswith("1234")


def test_the_samples_controlnet(vendors: Service, link: str) -> None:
    keys = {"sd_model_checkpoint": "tiny.safetensors", "save_dir": "data-oss/outputs"}
    body = SAMPLE | {"alwayson_scripts": keys | {"controlnet": {"args": [UNIT]}}}
    answer = send(vendors, "txt2img", linked(body, link))
    (mask,) = files(answer, "image_mask_url")
    assert mask.is_relative_to(vendors.data / "data-oss" / "outputs" / "controlnet_mask")
    assert len(files(answer)) == 1
