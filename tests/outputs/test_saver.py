"""Saving: what is written where, that it is whole, and what happens when it cannot be."""

import errno
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest
from PIL import Image as Pillow

from easel import hookspecs
from easel.errors import EaselError, Forbidden, UnknownName
from easel.files import ScopedFiles
from easel.imaging.metadata import read_generation_data
from easel.outputs import OutputSaver
from easel.outputs.journal import Journal
from easel.values.image import Image
from easel.values.job import Job
from easel.values.options import Options
from easel.values.request import GenerationRequest, Output

PIXELS = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
IMAGE = Image(pixels=PIXELS, seed=7, prompt="a cat", infotext="a cat\nSteps: 2", flags=("nsfw",))
SAVE = Output(save=True)


def job(output: Output = SAVE, **options: Any) -> Job:
    return Job(id="0f3c", created=43_200.0, request=GenerationRequest(output=output, options=Options(**options)))


@pytest.fixture
def saver(tmp_path: Path) -> OutputSaver:
    (tmp_path / ".easel").mkdir()
    return OutputSaver(lambda: ScopedFiles(tmp_path, denied=[".easel"]), Journal(tmp_path / ".easel"))


def written(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_pictures_are_encoded_and_saved_only_on_request(saver, tmp_path):
    unsaved = saver.save_image(IMAGE, job(Output()))
    assert (unsaved.path, written(tmp_path)) == (None, [])
    saved = saver.save_image(IMAGE, job())
    assert saved.path == "outputs/txt2img-images/1970-01-01/0f3c-0-7.png"
    assert (tmp_path / saved.path).read_bytes() == saved.data == unsaved.data
    assert (saved.seed, saved.prompt, saved.infotext, saved.flags) == (7, "a cat", IMAGE.infotext, ("nsfw",))
    assert read_generation_data(saved.data).infotext == IMAGE.infotext


@pytest.mark.parametrize(("option", "format"), [("png", "png"), ("jpg", "jpeg"), ("JPEG", "jpeg"), ("webp", "webp")])
def test_formats(saver, option, format):
    saved = saver.save_image(IMAGE, job(samples_format=option))
    assert saved.format == format
    assert saved.path.endswith(f".{option.lower()}")
    assert Pillow.open(BytesIO(saved.data)).format == format.upper()
    assert read_generation_data(saved.data).infotext == IMAGE.infotext


def test_unknown_format_names_the_option(saver):
    with pytest.raises(UnknownName, match="grid_format"):
        saver.save_image(replace(IMAGE, kind="grid"), job(grid_format="bmp"))


def test_infotext_can_be_left_out_of_files(saver):
    assert read_generation_data(saver.save_image(IMAGE, job(enable_pnginfo=False)).data).infotext == ""


def test_a_second_run_replaces(saver, tmp_path):
    saver.save_image(IMAGE, job())
    saver.save_image(replace(IMAGE, pixels=Pillow.new("RGB", (8, 8))), job())
    assert len(written(tmp_path)) == 1


def test_grids_have_their_own_place_and_switch(saver, tmp_path):
    grid = replace(IMAGE, kind="grid")
    assert saver.save_image(grid, job()).path == "outputs/txt2img-grids/1970-01-01/grid-0f3c.png"
    assert saver.save_image(grid, job(grid_save=False)).path is None
    assert saver.save_image(IMAGE, job(samples_save=False)).path is None


@pytest.mark.parametrize("asked", ["tmp/outputs", "tmp/outputs/", "./tmp//outputs", "ABSOLUTE/tmp/outputs"])
def test_save_dir_below_the_data_folder(saver, tmp_path, asked):
    saved = saver.save_image(IMAGE, job(Output(save_dir=asked.replace("ABSOLUTE", str(tmp_path)))))
    assert saved.path == "tmp/outputs/txt2img-images/1970-01-01/0f3c-0-7.png"
    assert written(tmp_path) == [saved.path]


@pytest.mark.parametrize(
    "asked", ["../../etc", "/etc", "a/../../b", "link", ".easel", ".easel/x", ".EASEL", "a\0b", "a\\b"]
)
def test_save_dir_that_leaves_is_refused_and_nothing_written(saver, tmp_path, asked):
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(Forbidden) as caught:
        saver.save_image(IMAGE, job(Output(save_dir=asked)))
    assert caught.value.status == 403
    assert written(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_an_error_without_leftovers(saver, tmp_path, monkeypatch, number):
    def fail(*_: object) -> None:
        raise OSError(number, "failed")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EaselError) as caught:
        saver.save_image(IMAGE, job())
    assert str(tmp_path) not in caught.value.message
    assert written(tmp_path) == []


def test_text_beside_the_picture(saver, tmp_path):
    saved = saver.save_image(IMAGE, job(save_txt=True))
    assert (tmp_path / saved.path).with_suffix(".txt").read_text() == "a cat\nSteps: 2\n"


def test_what_a_format_cannot_hold_becomes_png_with_a_warning(saver):
    wide = replace(IMAGE, pixels=Pillow.new("RGB", (16_384, 1)))
    one = job(samples_format="webp")
    saved = saver.save_image(wide, one)
    assert (saved.format, saved.path.endswith(".png")) == ("png", True)
    assert "16384x1" in one.warnings[0]


def test_generation_data_too_long_for_a_format_is_left_out_with_a_warning(saver):
    one = job(samples_format="jpg")
    saved = saver.save_image(replace(IMAGE, infotext="x" * 40_000), one)
    assert read_generation_data(saved.data).infotext == ""
    assert "40000 characters" in one.warnings[0]


def test_an_extension_answers_before_the_core(saver):
    class Elsewhere:
        @hookspecs.hookimpl
        def save_image(self, image: Image, job: Job) -> str:
            return "elsewhere"

    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    plugins.register(saver)
    assert plugins.hook.save_image(image=IMAGE, job=job(Output())).format == "png"
    plugins.register(Elsewhere())
    assert plugins.hook.save_image(image=IMAGE, job=job(Output())) == "elsewhere"
