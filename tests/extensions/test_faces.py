"""`restore_faces`: by whom, when on the road of a job, and what is said where nobody can."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from .conftest import Start, Write

SMALL = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64, "restore_faces": True}
WHITENS = """
@hookimpl
def register_face_restorers(self): return [White("White"), White("Sick", "Sick needs a doctor")]
"""
HEAD = """
from dataclasses import dataclass
from PIL import Image as Pillow

@dataclass(frozen=True)
class White:
    name: str
    lacks: str = ""
    job: Job | None = None

    def for_job(self, job): return replace(self, job=job)

    def restore(self, picture, weight=None):
        self.job.warn(f"whitened {picture.width}x{picture.height}")
        return Pillow.new("RGB", picture.size, "white")
"""


@pytest.fixture
def client(write: Write, start: Start) -> TestClient:
    write("whitens", WHITENS, head=HEAD)
    return start()


def by(name: str) -> dict[str, Any]:
    return {"override_settings": {"face_restoration_model": name}}


def ask(client: TestClient, route: str, body: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The first picture and the info."""
    answer = client.post(f"/sdapi/v1/{route}", json=body)
    assert answer.status_code == 200, answer.text
    picture = Image.open(BytesIO(base64.b64decode(answer.json()["images"][0])))
    return np.asarray(picture), json.loads(answer.json()["info"])


def test_faces_are_restored_by_whom_the_option_names(client: TestClient) -> None:
    picture, info = ask(client, "txt2img", SMALL | by("White"))
    assert (picture == 255).all()
    assert info["restore_faces"] is True and info["face_restoration_model"] == "White"
    assert "Face restoration: White" in info["infotexts"][0]
    (line,) = [line for line in info["easel"]["report"] if line["item"] == "restore_faces"]
    assert (line["outcome"], line["reason"], line["extension"]) == ("applied", "White", "whitens")


def test_what_is_laid_over_the_picture_comes_after(client: TestClient) -> None:
    def png(picture: Image.Image) -> str:
        file = BytesIO()
        picture.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    body = {"init_images": [png(Image.new("RGB", (64, 64), (0, 0, 200)))], "mask": png(mask), "mask_blur": 0}
    picture, _ = ask(client, "img2img", SMALL | body | by("White"))
    assert (picture[:, :24] == 255).all()
    assert (picture[:, 40:] == (0, 0, 200)).all()


def test_hires_pictures_are_restored_once_at_their_size(client: TestClient) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Nearest", "batch_size": 2}
    picture, info = ask(client, "txt2img", SMALL | hires | by("White"))
    assert info["easel"]["warnings"] == ["whitened 128x128"]  # said twice, told once; never of the first pass
    assert picture.shape[1] >= 128 and (picture == 255).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Sick", "Sick needs a doctor; the option face_restoration_model may be White"),
        ("Nobody", "there is no face restorer 'Nobody'; the option face_restoration_model may be White"),
    ],
)
def test_who_cannot_is_reported_with_who_could(client: TestClient, name: str, reason: str) -> None:
    _, info = ask(client, "txt2img", SMALL | by(name))
    (line,) = [line for line in info["easel"]["report"] if line["item"] == "restore_faces"]
    assert (line["outcome"], line["reason"]) == ("ignored", reason)
    assert info["restore_faces"] is False and "Face restoration" not in info["infotexts"][0]


def test_explaining_restores_nothing(client: TestClient) -> None:
    answer = client.post("/easel/v1/explain", json=SMALL | by("White"))
    assert answer.status_code == 200, answer.text
    assert "whitened" not in answer.text and '"restore_faces"' in answer.text
