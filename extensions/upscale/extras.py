"""What `/sdapi/v1/extra-single-image` and `extra-batch-images` do: enlarge by factor or to a size, mix two upscalers,
restore faces.

Sizes follow A1111: every step cuts sides down to multiples of 8; to a size means cover it and cut the middle out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field

from easel import (
    BadRequest,
    Draft,
    FaceRestorer,
    Image,
    Job,
    Upscaler,
    find_upscaler,
    generation_data_of,
    open_picture,
    upscale,
)

from .faces import CODEFORMER, GFPGAN

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

FACES = {"gfpgan_visibility": GFPGAN, "codeformer_visibility": CODEFORMER}  # in the order they are applied


class Wishes(BaseModel):
    """What both routes take, by A1111's names; numbers may be texts, unknown fields are left aside."""

    model_config = ConfigDict(extra="ignore")

    resize_mode: Literal[0, 1] = Field(
        0,
        title="Resize",
        description="0: by upscaling_resize; 1: to upscaling_resize_w x _h",
        json_schema_extra={"labels": {"0": "by a factor", "1": "to a size"}},
    )
    show_extras_results: bool = Field(True, description="without effect: pictures are always sent")
    gfpgan_visibility: float = Field(
        0, title="GFPGAN visibility", ge=0, le=1, description="how much of the restored face counts"
    )
    codeformer_visibility: float = Field(
        0, title="CodeFormer visibility", ge=0, le=1, description="how much of the restored face counts"
    )
    codeformer_weight: float = Field(
        0, title="CodeFormer weight", ge=0, le=1, description="0: CodeFormer's strongest effect"
    )
    upscaling_resize: float = Field(2, title="Scale by", gt=0, le=16, description="the factor")
    upscaling_resize_w: int = Field(512, title="Width", ge=1, description="width to reach")
    upscaling_resize_h: int = Field(512, title="Height", ge=1, description="height to reach")
    upscaling_crop: bool = Field(
        True, title="Crop to fit", description="cut what is over after reaching width and height"
    )
    upscaler_1: str = Field("None", title="Upscaler", description="what makes the picture larger (/sdapi/v1/upscalers)")
    upscaler_2: str = Field("None", title="Second upscaler", description="a second one, mixed in")
    extras_upscaler_2_visibility: float = Field(
        0, title="Visibility of the second", ge=0, le=1, description="how much of the second counts"
    )
    upscale_first: bool = Field(False, description="without effect: faces are restored after enlarging, as A1111 does")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """About the size a picture gets, for limits."""
        if self.upscaler_1 == "None":
            return width, height
        if self.resize_mode == 0:
            return int(width * self.upscaling_resize), int(height * self.upscaling_resize)
        factor = max(self.upscaling_resize_w / width, self.upscaling_resize_h / height)
        return int(width * factor), int(height * factor)


class Extras(Wishes):
    """The arguments of the task: the wishes, and the pictures as files in base64."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    pictures: list[bytes]


def enlarge_all(
    wishes: Extras, job: Job, upscalers: Sequence[Upscaler], face_restorers: Sequence[FaceRestorer], *, limit: int
) -> Draft:
    """All pictures, in order; `limit` in pixels. Errors: UnknownName, BadImage, BadRequest (too large)."""
    first = find_upscaler(wishes.upscaler_1, upscalers, "upscaler_1").for_job(job)
    second = find_upscaler(wishes.upscaler_2, upscalers, "upscaler_2").for_job(job)
    faces, remarks = _restorers(wishes, face_restorers, job)
    done = _told(wishes) | _told_of_faces(wishes, faces)
    images = []
    for number, data in enumerate(wishes.pictures):
        job.raise_if_cancelled()
        with open_picture(data, field=f"pictures[{number}]", max_pixels=limit) as opened:
            check_size(wishes, opened, limit, "upscaling_resize")
            infotext = generation_data_of(opened).infotext
            picture = opened.convert("RGB")
        made = _enlarge(picture, first, wishes)
        if wishes.extras_upscaler_2_visibility > 0 and second.name != "None":
            made = Pillow.blend(
                made, _enlarge(picture, second, wishes).resize(made.size), wishes.extras_upscaler_2_visibility
            )
        for field, restorer in faces.items():
            restored = restorer.restore(made, wishes.codeformer_weight)
            made = Pillow.blend(made, restored, getattr(wishes, field))
        told = ", ".join(f"{key}: {value}" for key, value in done.items())
        images.append(Image(pixels=made, index=number, infotext=infotext, texts=(("postprocessing", told),)))
    return Draft(images=tuple(images), info={"done": done, "remarks": remarks})


def _enlarge(picture: Pixels, upscaler: Upscaler, wishes: Wishes) -> Pixels:
    if upscaler.name == "None":
        return picture
    if wishes.resize_mode == 0:
        return upscale(picture, wishes.upscaling_resize, upscaler)
    width, height = wishes.upscaling_resize_w, wishes.upscaling_resize_h
    picture = upscale(picture, max(width / picture.width, height / picture.height), upscaler)
    if not wishes.upscaling_crop:
        return picture
    page = Pillow.new("RGB", (width, height))
    page.paste(picture, (width // 2 - picture.width // 2, height // 2 - picture.height // 2))
    return page


def _told(wishes: Wishes) -> dict[str, Any]:
    """What was done, by A1111's names and in its order."""
    if wishes.upscaler_1 == "None":
        return {}
    size = f"{wishes.upscaling_resize_w}x{wishes.upscaling_resize_h}"
    told: dict[str, Any] = {"Postprocess upscale by": float(wishes.upscaling_resize)}
    if wishes.resize_mode == 1:
        told = {"Postprocess upscale to": size, **({"Postprocess crop to": size} if wishes.upscaling_crop else {})}
    told["Postprocess upscaler"] = wishes.upscaler_1
    if wishes.extras_upscaler_2_visibility > 0 and wishes.upscaler_2 != "None":
        told["Postprocess upscaler 2"] = wishes.upscaler_2
    return told


def _restorers(wishes: Wishes, known: Sequence[FaceRestorer], job: Job) -> tuple[dict[str, FaceRestorer], list[str]]:
    """Who restores faces, by the field that asks for it, and what was asked for and cannot be done."""
    able: dict[str, FaceRestorer] = {}
    remarks = []
    for field, name in FACES.items():
        if getattr(wishes, field) == 0:
            continue
        found = next((one for one in known if one.name == name), None)
        reason = f"{name} is not there" if found is None else found.lacks
        if found is None or reason:
            remarks.append(f"{field} has no effect: {reason}")
        else:
            able[field] = found.for_job(job)
    return able, remarks


def _told_of_faces(wishes: Wishes, faces: Collection[str]) -> dict[str, Any]:
    told = {f"{FACES[field]} visibility": round(getattr(wishes, field), 3) for field in faces}
    if "codeformer_visibility" in faces:
        told["CodeFormer weight"] = round(wishes.codeformer_weight, 3)
    return told


def check_size(wishes: Wishes, picture: Pixels, limit: int, field: str) -> None:
    """Refuse what would get too large before anything is computed. Errors: BadRequest."""
    width, height = wishes.size(*picture.size)
    if width * height > limit:
        raise BadRequest(
            "the picture would get too large", field=field, value=f"{width}x{height}", allowed=f"up to {limit} pixels"
        )
