"""Tasks: an extension's routes ask a worker for what needs a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from easel.api.server import create_api
from easel.testing import EaselUnderTest

Write = Callable[..., Path]
HEAD = """
    from fastapi import APIRouter
    from PIL import Image as Pillow
    from pydantic import BaseModel, Field

    class Dots(BaseModel):
        color: str
        count: int = Field(default=1, ge=1, le=4)
"""
BODY = """
    loads = 0

    @hookimpl
    def register_routes(self, app):
        router = APIRouter()

        @router.get("/dots")
        async def dots(color: str = "red", count: int = 1) -> dict:
            result = await app.run_task("dots", "paint", {"color": color, "count": count})
            data = [len(one.data) for one in result.images]
            return {"info": result.info, "seconds": dict(result.seconds), "data": data}

        return router

    @task(Dots)
    def paint(self, arguments, job):
        def load(device):
            self.loads += 1
            return lambda color: Pillow.new("RGB", (8, 8), color)

        def use():
            return [job.model(("dots", "brush"), load)(arguments.color) for _ in range(arguments.count)]

        if arguments.color == "none":
            raise RuntimeError("no paint")
        images = tuple(Image(pixels=one, infotext=arguments.color) for one in job.compute(use))
        return Draft(images=images, info={"loads": self.loads})

    @hookimpl
    def review_images(self, images, job):
        return tuple(replace(one, pixels=one.pixels.convert("L")) for one in images)
"""


@pytest.fixture
def service(write: Write, tmp_path: Path) -> Iterator[tuple[TestClient, EaselUnderTest]]:
    app = EaselUnderTest(tmp_path / "data", write("dots", BODY, head=HEAD))
    with TestClient(create_api(app), raise_server_exceptions=False) as client:
        yield client, app


def test_a_route_gets_pictures_from_a_worker(service: tuple[TestClient, EaselUnderTest]) -> None:
    client, _ = service
    first, again = client.get("/dots?count=2").json(), client.get("/dots").json()
    assert (len(first["data"]), len(again["data"])) == (2, 1)
    assert (first["info"], again["info"]) == ({"loads": 1}, {"loads": 1})  # the model stays in the engine's cache
    assert {"dots", "compute", "save"} <= set(first["seconds"])


def test_its_pictures_are_reviewed(service: tuple[TestClient, EaselUnderTest]) -> None:
    _, app = service
    job = app.jobs.submit(_request(app, "green"))
    (image,) = app.jobs.wait_blocking(job).images
    assert Image.open(BytesIO(image.data)).mode == "L"
    assert (image.infotext, image.path) == ("green", None)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("?count=9", 422, "count: Input should be less than or equal to 4 (got 9)"),
        ("?color=none", 500, "extension 'dots' failed in paint: RuntimeError: no paint"),
    ],
)
def test_what_goes_wrong_is_said(
    service: tuple[TestClient, EaselUnderTest], query: str, status: int, said: str
) -> None:
    response = service[0].get(f"/dots{query}")
    assert (response.status_code, said in response.text) == (status, True), response.text


def test_a_task_ends_with_its_extension(service: tuple[TestClient, EaselUnderTest]) -> None:
    _, app = service
    app.switch_extension("dots", False)
    request = _request(app, "green")
    with pytest.raises(Exception, match=r"no extension that is switched on has a task dots\.paint"):
        app.jobs.wait_blocking(app.jobs.submit(request))


def _request(app: EaselUnderTest, color: str) -> object:
    from easel.values.request import GenerationRequest, TaskCall

    return GenerationRequest(kind="task", task=TaskCall("dots", "paint", {"color": color}))
