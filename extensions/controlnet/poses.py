"""Pictures of poses, drawn from the key points that OpenPose writes as JSON, in the colours its ControlNets learned.

A body has 18 points, a hand 21, a face up to 70, an animal 17 (the order of AP-10K). Each is three numbers: x, y and a
confidence, of which 0 means "not seen". Coordinates that all lie within 0 … 1 are shares of the canvas.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field, field_validator

from easel import BadRequest

Canvas = NDArray[np.uint8]
Point = tuple[int, int]
Colour = tuple[int, int, int]
Numbers = list[Annotated[float, Field(ge=-65536, le=65536, allow_inf_nan=False)]]

# Neck 1; right and left arm 2-4, 5-7; right and left leg 8-10, 11-13; nose 0, eyes 14, 15, ears 16, 17.
_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
_FINGERS = tuple((0, *range(first, first + 4)) for first in range(1, 21, 4))  # wrist to tip
_BODY, _HAND, _FACE, _ANIMAL = 18, 21, 70, 17
_DIM = 0.6  # limbs are darker than joints
# AP-10K: eyes 0, 1, nose 2, neck 3, tail 4; front legs 5-7, 8-10; hind legs 11-13, 14-16.
_BONES: tuple[tuple[int, int, Colour], ...] = (
    *((0, 1, (255, 255, 255)), (1, 2, (100, 255, 100)), (0, 2, (150, 255, 255)), (2, 3, (100, 50, 255))),
    *((3, 8, (50, 150, 200)), (8, 9, (0, 255, 255)), (9, 10, (0, 150, 0))),
    *((3, 5, (0, 0, 255)), (5, 6, (0, 0, 150)), (6, 7, (255, 50, 255))),
    *((3, 4, (255, 0, 255)), (4, 14, (255, 0, 0)), (14, 15, (150, 0, 0)), (15, 16, (255, 255, 100))),
    *((4, 11, (0, 150, 0)), (11, 12, (255, 255, 0)), (12, 13, (150, 150, 150))),
)


class Person(BaseModel):
    """One person's points."""

    model_config = ConfigDict(extra="ignore")

    pose_keypoints_2d: Numbers | None = None
    hand_left_keypoints_2d: Numbers | None = None
    hand_right_keypoints_2d: Numbers | None = None
    face_keypoints_2d: Numbers | None = None

    @field_validator("pose_keypoints_2d")
    @classmethod
    def _body(cls, given: Numbers | None) -> Numbers | None:
        return _counted(given, _BODY)

    @field_validator("hand_left_keypoints_2d", "hand_right_keypoints_2d")
    @classmethod
    def _hand(cls, given: Numbers | None) -> Numbers | None:
        return _counted(given, _HAND)

    @field_validator("face_keypoints_2d")
    @classmethod
    def _face(cls, given: Numbers | None) -> Numbers | None:
        return _counted(given, *range(1, _FACE + 1))


class Poses(BaseModel):
    """One picture: who is on it, and its size."""

    model_config = ConfigDict(extra="ignore")

    people: list[Person] = Field(default_factory=list, max_length=100)
    animals: list[Numbers] = Field(default_factory=list, max_length=100)
    canvas_width: int = Field(ge=1)
    canvas_height: int = Field(ge=1)

    @field_validator("animals")
    @classmethod
    def _animals(cls, given: list[Numbers]) -> list[Numbers]:
        for one in given:
            _counted(one, _ANIMAL)
        return given

    def check_size(self, limit: int, field: str) -> None:
        """Refuse a canvas of more than `limit` pixels. Errors: BadRequest."""
        if self.canvas_width * self.canvas_height > limit:
            size = f"{self.canvas_width}x{self.canvas_height}"
            raise BadRequest("the canvas is too large", field=field, value=size, allowed=f"up to {limit} pixels")


def drawn(poses: Poses) -> bytes:
    """A PNG file: people, or animals where there are no people, on black."""
    canvas = np.zeros((poses.canvas_height, poses.canvas_width, 3), np.uint8)
    for person in poses.people:
        _draw_body(canvas, _points(person.pose_keypoints_2d, canvas))
        _draw_hand(canvas, _points(person.hand_left_keypoints_2d, canvas))
        _draw_hand(canvas, _points(person.hand_right_keypoints_2d, canvas))
        for point in filter(None, _points(person.face_keypoints_2d, canvas)):
            _dot(canvas, point, (255, 255, 255), 3)
    for animal in () if poses.people else poses.animals:
        points = _points(animal, canvas)
        for start, end, colour in _BONES if points else ():
            _line(canvas, points[start], points[end], colour, 5)
    file = io.BytesIO()
    Pillow.fromarray(canvas).save(file, "PNG")
    return file.getvalue()


def _draw_body(canvas: Canvas, points: Sequence[Point | None]) -> None:
    if not points:
        return
    for (start, end), colour in zip(_LIMBS, _rainbow(_BODY), strict=False):
        _limb(canvas, points[start], points[end], colour)
    for point, colour in zip(points, _rainbow(_BODY), strict=True):
        if point is not None:
            _dot(canvas, point, colour, 4)


def _draw_hand(canvas: Canvas, points: Sequence[Point | None]) -> None:
    if not points:
        return
    bones = [bone for finger in _FINGERS for bone in pairwise(finger)]
    for (start, end), colour in zip(bones, _rainbow(len(bones)), strict=True):
        _line(canvas, points[start], points[end], colour, 2)
    for point in filter(None, points):
        _dot(canvas, point, (0, 0, 255), 4)


def _limb(canvas: Canvas, start: Point | None, end: Point | None, colour: Colour) -> None:
    """A slim ellipse between two joints."""
    if start is None or end is None:
        return
    across, down = end[0] - start[0], end[1] - start[1]
    centre = (start[0] + end[0]) // 2, (start[1] + end[1]) // 2
    axes = int(np.hypot(across, down) / 2), 4
    dim = tuple(int(channel * _DIM) for channel in colour)
    cv2.ellipse(canvas, centre, axes, float(np.degrees(np.arctan2(down, across))), 0, 360, dim, cv2.FILLED)


def _line(canvas: Canvas, start: Point | None, end: Point | None, colour: Colour, width: int) -> None:
    if start is not None and end is not None:
        cv2.line(canvas, start, end, colour, width)


def _dot(canvas: Canvas, point: Point, colour: Colour, radius: int) -> None:
    cv2.circle(canvas, point, radius, colour, cv2.FILLED)


def _points(numbers: Sequence[float] | None, canvas: Canvas) -> list[Point | None]:
    """In pixels; None for what was not seen."""
    triples = np.asarray(numbers or [], np.float64).reshape(-1, 3)
    seen = triples[:, 2] > 0
    if (np.abs(triples[seen, :2]) <= 1).all():
        triples = triples * (canvas.shape[1], canvas.shape[0], 1)
    return [(int(x), int(y)) if there else None for (x, y, _), there in zip(triples, seen, strict=True)]


def _rainbow(count: int) -> Iterable[Colour]:
    for number in range(count):
        red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(number / count, 1, 1))
        yield red, green, blue


def _counted(given: Any, *allowed: int) -> Any:
    if given and (len(given) % 3 or len(given) // 3 not in allowed):
        most = f"{3 * allowed[-1]}" if len(allowed) == 1 else f"up to {3 * allowed[-1]}, three for each point"
        raise ValueError(f"{len(given)} numbers; allowed: {most}")
    return given
