"""`POST /controlnet/render_openpose_json`."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROUTE = "/controlnet/render_openpose_json"
SIZE = {"canvas_width": 100, "canvas_height": 80}


def numbers(count: int, seen: dict[int, tuple[float, float]]) -> list[float]:
    """x, y, confidence of `count` points, of which `seen` are."""
    return [value for k in range(count) for value in ((*seen[k], 1.0) if k in seen else (0.0, 0.0, 0.0))]


def pictures(client: Any, *poses: dict[str, Any]) -> list[Any]:
    answer = client.post(ROUTE, json=list(poses))
    assert answer.status_code == 200, answer.text
    assert answer.json()["info"] == "Success"
    return [np.asarray(Image.open(BytesIO(base64.b64decode(text)))) for text in answer.json()["images"]]


def test_a_body_has_joints_and_darker_limbs_in_their_colours(easel_client: Any) -> None:
    arm = {1: (10.0, 20.0), 2: (50.0, 20.0), 3: (50.0, 60.0), 9: (90.0, 70.0)}
    (picture,) = pictures(easel_client, SIZE | {"people": [{"pose_keypoints_2d": numbers(18, arm)}]})
    assert picture.shape == (80, 100, 3)
    assert picture[20, 10].tolist() == [255, 85, 0]  # the neck
    assert picture[20, 50].tolist() == [255, 170, 0]  # the right shoulder
    assert picture[60, 50].tolist() == [255, 255, 0]
    assert picture[20, 30].tolist() == [153, 0, 0]  # neck to shoulder: the first limb
    assert picture[40, 50].tolist() == [153, 102, 0]  # shoulder to elbow: the third
    assert picture[24, 30].tolist() == [153, 0, 0] and picture[26, 30].tolist() == [0, 0, 0]
    assert picture[70, 90].tolist() == [0, 255, 255]  # a knee that is tied to nothing seen
    assert not picture[72:, :80].any()


def test_shares_of_the_canvas_are_the_same_as_pixels(easel_client: Any) -> None:
    seen = {0: (50.0, 8.0), 1: (50.0, 40.0), 8: (25.0, 60.0)}
    shares = {k: (x / 100, y / 80) for k, (x, y) in seen.items()}
    one, other = pictures(
        easel_client, *(SIZE | {"people": [{"pose_keypoints_2d": numbers(18, each)}]} for each in (seen, shares))
    )
    assert one.any() and (one == other).all()


def test_hands_and_faces(easel_client: Any) -> None:
    hand = {0: (20.0, 40.0), 1: (60.0, 40.0), 5: (20.0, 75.0)}
    face = {3: (80.0, 10.0)}
    person = {"hand_right_keypoints_2d": numbers(21, hand), "face_keypoints_2d": numbers(70, face)}
    (picture,) = pictures(easel_client, SIZE | {"people": [person | {"pose_keypoints_2d": None}]})
    assert picture[40, 20].tolist() == picture[40, 60].tolist() == [0, 0, 255]
    assert picture[40, 40].tolist() == [255, 0, 0]  # the first bone of the thumb
    assert picture[60, 20].tolist() == [204, 255, 0]  # of the second finger: a fifth around
    assert picture[10, 80].tolist() == [255, 255, 255]


def test_animals(easel_client: Any) -> None:
    seen = {0: (10.0, 10.0), 1: (90.0, 10.0), 4: (50.0, 70.0)}
    (picture,) = pictures(easel_client, SIZE | {"animals": [numbers(17, seen)]})
    assert picture[10, 50].tolist() == [255, 255, 255]
    assert not picture[15:].any()


def test_nothing_and_too_much(easel_client: Any) -> None:
    assert easel_client.post(ROUTE, json=[]).json() == {"info": "No pose data detected."}
    for nobody in ({"people": []}, {"animals": [[]]}, {"people": [{"pose_keypoints_2d": []}]}):
        (empty,) = pictures(easel_client, SIZE | nobody)
        assert not empty.any()
    far = numbers(18, {1: (-60000.0, 60000.0), 2: (60000.0, -60000.0)})
    pictures(easel_client, SIZE | {"people": [{"pose_keypoints_2d": far}]})


@pytest.mark.parametrize(
    ("poses", "words"),
    [
        (SIZE | {"people": [{"pose_keypoints_2d": [1.0, 2.0, 1.0]}]}, "3 numbers; allowed: 54"),
        (SIZE | {"people": [{"face_keypoints_2d": [1.0] * 4}]}, "4 numbers; allowed: up to 210"),
        (SIZE | {"animals": [[1.0] * 54]}, "54 numbers; allowed: 51"),
        ({"people": [], "canvas_width": 10}, "canvas_height"),
        (SIZE | {"canvas_width": 0}, "canvas_width"),
        (SIZE | {"canvas_width": 10_000_000}, "the canvas is too large"),
        (SIZE | {"people": [{}] * 101}, "people"),
        (SIZE | {"people": [{"pose_keypoints_2d": [1e9] * 54}]}, "pose_keypoints_2d"),
    ],
)
def test_what_is_wrong_is_named(easel_client: Any, poses: dict[str, Any], words: str) -> None:
    answer = easel_client.post(ROUTE, json=[poses])
    assert answer.status_code == 422
    assert words in answer.text


def test_as_many_pictures_as_a_batch(easel_client: Any, easel_app: Any) -> None:
    many = [SIZE] * (easel_app.settings.max_batch + 1)
    assert "too many pictures" in easel_client.post(ROUTE, json=many).text
