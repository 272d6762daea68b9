"""What is wrong with a request is answered with the field, the value and what is allowed; the service lives on."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import Serve, Service, png

SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}
RECORDED = [
    "txt2img_bad_type", "txt2img_badjson", "txt2img_bodylist", "txt2img_nobody", "txt2img_promptlist",
    "txt2img_script_not_found", "txt2img_alwayson_not_found", "img2img_missing", "options_post_list",
]  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_errors_are_worded_as_a1111_words_them(service: Service, recorded: Callable[[str], Any], name: str) -> None:
    golden = recorded(f"api/{name}")
    asked = golden["request"]
    body = {"content": asked["data"]} if asked["data"] else {} if asked["json"] is None else {"json": asked["json"]}
    answer = service.client.post(asked["path"], headers=asked["headers"] or {}, **body)
    assert answer.status_code == golden["status"]
    mine, theirs = answer.json(), golden["body"]
    for problem in (*mine["detail"], *theirs["detail"]) if isinstance(mine["detail"], list) else ():
        problem.pop("ctx", None)  # ours also says what was given and what is allowed
    if isinstance(theirs["detail"], str) and mine["detail"].startswith(theirs["detail"]):
        theirs["detail"] = mine["detail"]  # ours also lists what there is
    assert mine == theirs


@pytest.mark.parametrize(("field", "value", "allowed"), [
    ("width", 0, "at least 8"), ("width", 7, "at least 8"), ("width", 100000, "up to 4194304 pixels"),
    ("height", 100000, "up to 4194304 pixels"), ("height", -64, "at least 8"),
    ("steps", 0, "at least 1"), ("steps", 10000, "up to 1000"), ("steps", 10**30, "up to 1000"),
    ("batch_size", 0, "at least 1"), ("batch_size", 1000, "up to 64"), ("n_iter", 1000, "up to 64"),
    ("cfg_scale", -1, "0 to 1000"), ("seed", 2**70, "-9.22"), ("subseed_strength", 2, "0 to 1"), ("eta", -1, "0 to 10"),
    ("sampler_name", "Eular", "'Euler'"), ("sampler_index", "nope", "'DPM++ 2M'"),
    ("refiner_switch_at", 2, "0 to 1"), ("prompt", "x" * 70000, "up to 65536 characters"),
])  # fmt: skip
def test_numbers_and_names(service: Service, field: str, value: Any, allowed: str) -> None:
    status, detail = service.refused("txt2img", SMALL | {field: value})
    assert status == 422
    assert detail.startswith(f"{field}: ")
    assert (str(value)[:20] in detail or "70000 characters" in detail) and allowed in detail


@pytest.mark.parametrize(("field", "value", "given", "allowed"), [
    ("steps", "many", "many", "a whole number"), ("steps", [1], "[1]", "a whole number"),
    ("cfg_scale", "nan", "nan", "a number"), ("cfg_scale", {}, "{}", "a number"),
    ("enable_hr", "perhaps", "perhaps", "true or false"), ("prompt", 5, 5, "a text"),
    ("styles", "plain", "plain", "a list"), ("styles", [1], 1, "a text"),
    ("override_settings", [], "[]", "an object"), ("script_args", "x", "x", "a list"),
])  # fmt: skip
def test_wrong_types(service: Service, field: str, value: Any, given: Any, allowed: str) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", json=SMALL | {field: value})
    problem = answer.json()["detail"][0]
    assert (answer.status_code, problem["loc"][:2]) == (422, ["body", field])
    assert problem["ctx"] == {"given": given, "allowed": allowed}


@pytest.mark.parametrize(("body", "says"), [
    ({"override_settings": {"sd_model_checkpoint": "tiny3"}}, "(got 'tiny3'; allowed: 'tiny.safetensors')"),
    ({"override_settings": {"sd_vae": "nope.safetensors"}}, "sd_vae: unknown name (got 'nope.safetensors'"),
    ({"override_settings": {"CLIP_stop_at_last": 2}}, "did you mean 'CLIP_stop_at_last_layers'"),
    ({"override_settings": {"CLIP_stop_at_last_layers": "abc"}}, "wrong type (got 'abc'; allowed: 1 to 12)"),
    ({"override_settings": {"CLIP_stop_at_last_layers": 99}}, "not allowed (got 99; allowed: 1 to 12)"),
    ({"override_settings": {"samples_format": "exe"}}, "allowed: 'png', 'jpg', 'jpeg', 'webp'"),
    ({"enable_hr": True, "hr_upscaler": "nope"}, "hr_upscaler: unknown name (got 'nope'"),
    ({"enable_hr": True, "hr_scale": 60}, "hr_scale: the picture would be too large"),
    ({"enable_hr": True, "hr_resize_x": 100000}, "hr_resize_x: the picture would be too large"),
    ({"enable_hr": True, "hr_sampler_name": "nope"}, "hr_sampler_name: unknown name"),
    ({"enable_hr": True, "hr_checkpoint_name": "nope"}, "hr_checkpoint_name: unknown name"),
    ({"refiner_checkpoint": "nope", "refiner_switch_at": 0.5}, "refiner_checkpoint: unknown name"),
    ({"infotext": "a\nSteps: abc, Sampler: Euler, Seed: 1, Size: 64x64", "steps": None}, "infotext: steps"),
    ({"infotext": "a\nSteps: 2, Sampler: Eular, Seed: 1, Size: 64x64"}, "infotext: unknown name (got 'Eular'"),
    ({"script_name": "nope", "script_args": [1]}, "Script 'nope' not found"),
    ({"alwayson_scripts": {"lora": {"args": 5}}}, "alwayson_scripts.lora.args: wrong type (got 5; allowed: a list"),
    ({"alwayson_scripts": {"lora": "x"}}, "Script 'lora' not found"),
])  # fmt: skip
def test_names_and_nested_values(service: Service, body: dict[str, Any], says: str) -> None:
    status, detail = service.refused("txt2img", SMALL | body)
    assert status == 422
    assert says in detail


def bomb(width: int, height: int) -> str:
    """A PNG whose header promises width x height pixels, in a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(data).decode()


CUT = base64.b64encode(base64.b64decode(png(512, 512, "blue"))[:-60]).decode()


BROKEN: list[tuple[Any, str]] = [
    ("!!!notb64", "Invalid encoded image"), ("aGVsbG8gd29ybGQ=", "can be read"), (CUT, "damaged or cut off"),
    (bomb(20000, 20000), "too large"), (bomb(9000, 9000), "too large"), ("data:image/png;base64,!!", "Invalid encoded"),
]  # fmt: skip


@pytest.mark.parametrize(("picture", "says"), [*BROKEN, ("", "Invalid encoded image"), (5, "Invalid encoded image")])
def test_broken_start_pictures(service: Service, picture: Any, says: str) -> None:
    status, detail = service.refused("img2img", SMALL | {"init_images": [picture]})
    assert status in (413, 422)
    assert detail.startswith("init_images[0]: ")
    assert says in detail
    assert len(detail) < 500


@pytest.mark.parametrize(("picture", "says"), BROKEN)
def test_broken_masks(service: Service, picture: Any, says: str) -> None:
    _, detail = service.refused("img2img", SMALL | {"init_images": [png()], "mask": picture})
    assert detail.startswith("mask: ")
    assert says in detail


def test_pictures_by_url_come_from_the_public_internet_only(service: Service) -> None:
    status, detail = service.refused("img2img", SMALL | {"init_images": ["http://127.0.0.1:1/x.png"]})
    assert status == 422
    assert "init_images[0]: names a host that is not on the public internet" in detail


@pytest.mark.parametrize(("field", "value"), [
    ("resize_mode", 4), ("inpainting_fill", 4), ("inpaint_full_res_padding", 257), ("inpaint_full_res_padding", -4),
    ("inpainting_mask_invert", 2), ("mask_blur", -1), ("denoising_strength", 1.1), ("init_images", []),
])  # fmt: skip
def test_img2img_numbers(service: Service, field: str, value: Any) -> None:
    status, detail = service.refused("img2img", SMALL | {"init_images": [png()]} | {field: value})
    assert status == 422
    assert detail.startswith(f"{field}: ")


def test_a_damaged_checkpoint_is_refused_by_name(serve: Serve) -> None:
    service = serve()
    folder = service.data / "models" / "Stable-diffusion"
    whole = (folder / "tiny.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "old.ckpt").write_bytes(b"\x80\x02}q\x00.")
    service.post("refresh-checkpoints", {})
    for name in ("cut", "old"):
        status, detail = service.refused("txt2img", SMALL | {"override_settings": {"sd_model_checkpoint": name}})
        assert status == 422
        assert name in detail
        assert str(service.data) not in detail
    assert [row["model_name"] for row in service.get("sd-models")] == ["tiny"]


def test_large_bodies_are_refused_before_they_are_read(serve: Serve) -> None:
    service = serve("--max-body-mb", "1")
    status, detail = service.refused("txt2img", SMALL | {"prompt": "x" * (1 << 20)})
    assert (status, "larger than 1 MB" in detail) == (413, True)


def test_large_bodies_are_refused_while_they_stream(serve: Serve) -> None:
    service = serve("--max-body-mb", "1")

    def body() -> Iterator[bytes]:
        """4 MB without a Content-Length."""
        yield b'{"prompt": "'
        yield from (b"x" * (1 << 16) for _ in range(64))

    answer = service.client.post("/sdapi/v1/txt2img", content=body())
    assert answer.status_code == 413
    assert service.client.get("/internal/ping").status_code == 200


@pytest.mark.parametrize("content", ["[" * 100000, '{"a":' * 50000, '{"seed": ' + "9" * 10000 + "}", "\x00", "nul"])
def test_hostile_json(service: Service, content: str) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", content=content)
    assert 400 <= answer.status_code < 500
    assert service.client.get("/internal/ping").status_code == 200


@pytest.mark.parametrize(("field", "value"), [
    ("prompt", '"a \\ud800"'), ("infotext", '"a \\ud800"'), ("styles", '["\\ud800"]'), ("comments", '{"a": "\\ud800"}'),
    ("comments", '{"\\ud800": 1}'), ("alwayson_scripts", '{"a": {"args": [["\\ud800"]]}}'), ("x\\ud800", "1"),
])  # fmt: skip
def test_half_characters_are_refused(service: Service, field: str, value: str) -> None:
    """No file and no message to the worker could hold them."""
    answer = service.client.post("/sdapi/v1/txt2img", content=f'{{"{field}": {value}}}')
    assert answer.status_code == 422
    assert "half a surrogate pair" in answer.text or "unicode" in answer.text
    answer = service.client.post("/sdapi/v1/options", content=f'{{"directories_filename_pattern": {value}}}')
    assert answer.status_code == 422 or value == "1"


@pytest.mark.parametrize("body", [{"sampler_name": "x" * 2**24}, {f"field {k}": 1 for k in range(20000)}])
def test_much_of_nothing_is_refused_at_once(service: Service, body: dict[str, Any]) -> None:
    begin = time.process_time()
    service.refused("txt2img", SMALL | body)
    assert time.process_time() - begin < 3


def test_unknown_paths_and_methods(service: Service, recorded: Callable[[str], Any]) -> None:
    for name in ("raw_sdapi_v1_nothing", "wrong_method_get_txt2img"):
        golden = recorded(f"api/{name}")
        answer = service.client.request(golden["request"]["method"], golden["request"]["path"])
        assert (answer.status_code, answer.json()) == (golden["status"], golden["body"])
