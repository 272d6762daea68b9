"""Restoring faces: what is missing is said; with weights and a detector the faces are found, restored and put back."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from easel_extensions.upscale.facenet import FaceNet, load_face_net
from easel_extensions.upscale.nets import _without_torchvision
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file

from easel import RefusedFile
from easel.testing import EaselUnderTest

from .yunet import write_detector

SMALL = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64}
CELL = (160, 320)  # the corner of the red cell, right between the eyes of the face


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small RestoreFormer that learned nothing."""
    with _without_torchvision():
        from spandrel.architectures.RestoreFormer import RestoreFormer
    torch.manual_seed(0)
    sizes = {"n_embed": 16, "embed_dim": 32, "ch": 32, "ch_mult": (1,) * 6, "num_res_blocks": 1, "z_channels": 32}
    return saved(RestoreFormer(**sizes), tmp_path_factory.mktemp("weights"))


@pytest.fixture
def models(easel_app: EaselUnderTest) -> Path:
    """The folder for weights, empty."""
    folder: Path = easel_app.settings.data_dir / "models" / "GFPGAN"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def saved(net: torch.nn.Module, folder: Path) -> Path:
    file = folder / "net.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, file)
    return file


def portrait(*cells: tuple[int, int]) -> Image.Image:
    """A soft grey ground, 640 x 480, with a red cell for each face."""
    y, x = np.mgrid[:480, :640]
    pixels = np.stack([x / 4 + 40, y / 3 + 40, 160 - x / 8], axis=-1).astype(np.uint8)
    for left, top in cells:
        pixels[top : top + 32, left : left + 32] = (255, 0, 0)
    return Image.fromarray(pixels)


def base64_of(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def extras(client: TestClient, picture: Image.Image, **wishes: Any) -> tuple[Any, str]:
    """The pixels and what is said of them."""
    answer = client.post("/sdapi/v1/extra-single-image", json={"image": base64_of(picture)} | wishes)
    assert answer.status_code == 200, answer.text
    made = Image.open(BytesIO(base64.b64decode(answer.json()["image"])))
    return np.asarray(made, float), answer.json()["html_info"]


def line_of(client: TestClient, **body: Any) -> dict[str, Any]:
    """What became of `restore_faces`."""
    answer = client.post("/sdapi/v1/txt2img", json=SMALL | {"restore_faces": True} | body)
    assert answer.status_code == 200, answer.text
    info = json.loads(answer.json()["info"])
    (line,) = [line for line in info["easel"]["report"] if line["item"] == "restore_faces"]
    assert info["restore_faces"] == (line["outcome"] == "applied")
    assert ("Face restoration: " in info["infotexts"][0]) == (line["outcome"] == "applied")
    return dict(line)


def test_what_is_missing_is_said(easel_client: TestClient, models: Path, weights: Path) -> None:
    def listed() -> list[str]:
        return [one["name"] for one in easel_client.get("/sdapi/v1/face-restorers").json()]

    gfpgan = {"override_settings": {"face_restoration_model": "GFPGAN"}}
    assert listed() == []
    reason = line_of(easel_client)["reason"]
    assert reason.startswith("CodeFormer needs the package spandrel-extra-arches")
    assert "not licensed for commercial use; CodeFormer's weights as .safetensors in models/Codeformer;" in reason
    (models / "GFPGANv1.4.pth").write_bytes(b"PK\x03\x04")
    assert line_of(easel_client, **gfpgan)["reason"] == (
        "GFPGAN needs GFPGAN's weights as .safetensors; GFPGANv1.4.pth is a pickle: `easel convert` rewrites it; "
        "the face detector YuNet (face_detection_yunet_….onnx of the OpenCV Zoo) in models/GFPGAN"
    )
    (models / "GFPGANv1.4.safetensors").write_bytes(weights.read_bytes())
    write_detector(models / "face_detection_yunet_2026may.onnx")
    assert listed() == ["GFPGAN"]
    assert "the option face_restoration_model may be GFPGAN" in line_of(easel_client)["reason"]
    line = line_of(easel_client, **gfpgan)
    assert (line["outcome"], line["reason"], line["extension"]) == ("applied", "GFPGAN", "upscale")
    unknown = line_of(easel_client, override_settings={"face_restoration_model": "nobody"})
    assert unknown["reason"].startswith("there is no face restorer 'nobody'; the option")
    strict = easel_client.post("/sdapi/v1/txt2img", json=SMALL | {"restore_faces": True, "strict": True})
    assert strict.status_code == 422 and "restore_faces would be ignored: CodeFormer needs" in strict.text


def test_faces_of_extras_are_restored_and_nothing_else(easel_client: TestClient, models: Path, weights: Path) -> None:
    (models / "any.safetensors").write_bytes(weights.read_bytes())
    write_detector(models / "yunet.onnx")
    plain = portrait(CELL)
    before = np.asarray(plain, float)
    whole, said = extras(easel_client, plain, gfpgan_visibility=1)
    assert said == "<p>GFPGAN visibility: 1.0</p>"
    changed = np.abs(whole - before).max(axis=2) > 1
    rows, columns = np.nonzero(changed)
    assert 80 < rows.max() - rows.min() < 160 and 80 < columns.max() - columns.min() < 160  # 512 px are 156 of these
    assert columns.min() < CELL[0] < columns.max() and rows.min() < CELL[1] < rows.max()
    half, _ = extras(easel_client, plain, gfpgan_visibility=0.5)
    assert np.abs(half - (whole + before) / 2).max() <= 1
    nobody, _ = extras(easel_client, portrait(), gfpgan_visibility=1)
    assert (nobody == np.asarray(portrait(), float)).all()
    enlarged, said = extras(easel_client, plain, gfpgan_visibility=1, upscaler_1="Nearest", upscaling_resize=2)
    assert enlarged.shape == (960, 1280, 3) and "GFPGAN visibility: 1.0" in said
    assert (np.abs(enlarged - np.asarray(plain.resize((1280, 960)), float)).max(axis=2) > 40).any()
    same, said = extras(easel_client, plain, codeformer_visibility=1)
    assert (same == before).all() and "codeformer_visibility has no effect: CodeFormer needs" in said


def geometry(restored: Any, tmp_path: Path) -> FaceNet:
    """A net whose network is a plain function of the straightened face."""
    write_detector(tmp_path / "yunet.onnx")
    detector = cv2.FaceDetectorYN.create(str(tmp_path / "yunet.onnx"), "", (640, 640), 0.8)

    def model(pixels: torch.Tensor) -> torch.Tensor:
        return restored(pixels)

    model.architecture = SimpleNamespace(id="plain")  # type: ignore[attr-defined]
    return FaceNet(model, detector, "cpu")


def test_a_face_comes_back_where_it_was(tmp_path: Path) -> None:
    picture = portrait(CELL, (480, 96))
    same = geometry(lambda pixels: pixels, tmp_path).restore(picture, 0.5)
    difference = np.abs(np.asarray(same, float) - np.asarray(picture, float))
    assert difference.mean() < 0.1  # resampled, but in its place
    white = np.asarray(geometry(torch.ones_like, tmp_path).restore(picture, 0.5))
    assert (white[CELL[1] - 13, CELL[0] - 19] == 255).all() and (white[CELL[1] + 22, CELL[0] + 13] == 255).all()
    assert (white[96, 480] == 255).all()
    assert (white[:, :60] == np.asarray(picture)[:, :60]).all()


def test_the_straightened_face_has_its_eyes_where_the_networks_expect_them(tmp_path: Path) -> None:
    seen = []
    geometry(lambda pixels: seen.append(pixels) or pixels, tmp_path).restore(portrait(CELL), 0.5)
    (face,) = (np.round(one[0].permute(1, 2, 0).numpy() * 255) for one in seen)
    assert face.shape == (512, 512, 3)
    red = (face[..., 0] > 200) & (face[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert abs(columns.min() - 256) <= 2 and abs(rows.min() - 240) <= 2  # the corner of the cell
    assert abs(columns.max() - columns.min() - 32 * 126 / 38.4) <= 3  # eyes are 38.4 pixels apart, and then 126


class Longsighted:
    """A detector that sees nothing at the first look."""

    def __init__(self, detector: Any) -> None:
        self.detector, self.looks = detector, 0

    def detect(self, window: Any) -> Any:
        self.looks += 1
        return (0, None) if self.looks == 1 else self.detector.detect(window)


def test_large_faces_are_looked_for_in_a_smaller_copy(tmp_path: Path) -> None:
    net = geometry(torch.ones_like, tmp_path)
    picture = portrait()
    picture.paste((255, 0, 0), (320, 192, 384, 256))  # a cell of the copy of half the size
    made = replace(net, detector=Longsighted(net.detector)).restore(picture, 0.5)
    rows, columns = np.nonzero((np.asarray(made) != np.asarray(picture)).any(axis=2))
    side = 512 * 2 * 38.4 / 126  # of the straightened square, in the picture
    for span, middle in ((rows, 192 + side * (256 - 240) / 512), (columns, 320)):
        assert abs((span.min() + span.max()) / 2 - middle) < 4
        assert 0.85 * side < span.max() - span.min() < side


def test_foreign_files_are_refused(tmp_path: Path, weights: Path) -> None:
    shipped = Path(__file__).parents[1] / "weights" / "R-ESRGAN AnimeVideo 4x.safetensors"
    write_detector(tmp_path / "yunet.onnx")
    with pytest.raises(RefusedFile, match="does not restore faces"):
        load_face_net(shipped, tmp_path / "yunet.onnx", "cpu")
    (tmp_path / "broken.onnx").write_bytes(b"no onnx")
    with pytest.raises(RefusedFile, match=r"broken\.onnx is no face detector"):
        load_face_net(weights, tmp_path / "broken.onnx", "cpu")


@pytest.mark.long
def test_gfpgan_itself(easel_client: TestClient, models: Path) -> None:
    """Of its full size, with weights that learned nothing; the same picture every time."""
    with _without_torchvision():
        from spandrel.architectures.GFPGAN import GFPGAN
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"out_size": 512, "channel_multiplier": 2, "input_is_latent": True, "different_w": True}
    saved(GFPGAN(**sizes, decoder_load_path=None, fix_decoder=False, sft_half=True), models)
    write_detector(models / "yunet.onnx")
    one, said = extras(easel_client, portrait(CELL), gfpgan_visibility=1)
    other, _ = extras(easel_client, portrait(CELL), gfpgan_visibility=1)
    assert said == "<p>GFPGAN visibility: 1.0</p>"
    assert (one == other).all() and (np.abs(one - np.asarray(portrait(CELL), float)) > 20).any()
