from __future__ import annotations

import threading
from typing import Any

import pytest
from PIL import Image as Pillow

from easel import BadRequest, InitImages, Inpaint, NotAvailable, encoded

Generate = Any
App = Any
GREY = encoded(Pillow.new("RGB", (64, 64), "grey"))
START = InitImages(pictures=(GREY,))


def plans(app: App) -> list[Any]:
    return [call.arguments["plan"] for call in app.engine.called("denoise")]


@pytest.mark.parametrize(
    ("curve", "strengths"),
    [("Linear", [0.8, 0.6, 0.4]), ("Aggressive", [0.8, 0.517, 0.4]), ("Lazy", [0.8, 0.683, 0.4])],
)
def test_each_loop_begins_with_the_last_result(
    easel_app: App, easel_generate: Generate, curve: str, strengths: list[float]
) -> None:
    arguments = {"loops": 3, "final_denoising_strength": 0.4, "denoising_curve": curve}
    result = easel_generate(
        "a fox", kind="img2img", init=START, denoising_strength=0.8, scripts={"loopback": arguments}
    )
    assert [image.kind for image in result.images] == ["grid", "result", "result", "result"]
    assert [plan.denoising_strength for plan in plans(easel_app)] == pytest.approx(strengths, abs=1e-3)
    assert [plan.pictures[0].seed for plan in plans(easel_app)] == [1, 2, 3]
    starts = [plan.init.pictures[0] for plan in plans(easel_app)]
    assert not (starts[0] == starts[1]).all()
    assert f"Denoising curve: {curve}" in result.images[2].infotext


def test_runs_are_told_by_their_last_picture_and_masks_keep_what_is_painted(
    easel_app: App, easel_generate: Generate
) -> None:
    init = InitImages(pictures=(GREY,), inpaint=Inpaint(mask=encoded(Pillow.new("L", (64, 64), "white")), fill=2))
    result = easel_generate("a fox", kind="img2img", init=init, n_iter=2, scripts={"loopback": [3]})
    assert [image.kind for image in result.images] == ["grid", "result", "result"]
    assert [plan.fill for plan in plans(easel_app)] == [2, 2, 1, 1, 1, 1]


def test_an_interrupt_returns_what_was_made(easel_app: App, easel_generate: Generate) -> None:
    easel_app.engine.step_seconds = 0.02

    def interrupt() -> None:
        while len(easel_app.engine.called("denoise")) < 2:
            threading.Event().wait(0.002)
        for job in easel_app.jobs.running():
            easel_app.jobs.signal("interrupt", job)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = easel_generate("a fox", kind="img2img", init=START, scripts={"loopback": [32]})
    thread.join()
    assert result.interrupted
    assert 2 <= len(result.images) <= 5
    assert len(plans(easel_app)) < 6


def test_what_is_not_there_is_refused(easel_generate: Generate) -> None:
    with pytest.raises(NotAvailable, match="CLIP"):
        easel_generate("", kind="img2img", init=START, scripts={"loopback": [2, 0.5, "Linear", "CLIP"]})
    with pytest.raises(BadRequest, match="loops"):
        easel_generate("", kind="img2img", init=START, scripts={"loopback": [33]})
