"""The seconds of jobs: every part once, shared ticks by share, and all of the engine's time on somebody's account."""

from __future__ import annotations

import base64
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel.api.ledger import summed
from easel.api.requests import read_request
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.app import Easel
from easel.errors import JobCancelled
from easel.imaging.encode import encode
from easel.settings import Settings, read_settings
from easel.values.ledger import Wanted
from easel.values.result import QUEUE, Result
from easel.worker.workplace import Workplace, build_workplace

ENGINE = ("load", "encode", "denoise", "decode", "compute")  # parts that are seconds of the engine's thread
PHOTO = base64.b64encode(encode(Image.fromarray(np.full((64, 64, 3), (200, 80, 30), np.uint8)))).decode()
SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3}
UPSCALED = {"enable_hr": True, "hr_upscaler": "R-ESRGAN AnimeVideo 4x", "hr_scale": 2, "denoising_strength": 0.5}
SCRIPT = {"script_name": "Prompt matrix", "script_args": {}}
MIXED: tuple[dict[str, Any], ...] = (
    SMALL,
    SMALL | {"prompt": "a dog <lora:flat:1>", "steps": 5},
    SMALL | {"batch_size": 2, "sampler_name": "Heun"},
    SMALL | UPSCALED,
    SMALL | SCRIPT | {"prompt": "a cat|red|small"},
    SMALL | {"init_images": [PHOTO], "denoising_strength": 0.6},
)


class Bench:
    """A service in this process, and the engine inside."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.places: list[Workplace] = []
        settings = read_settings(["--data-dir", str(data), "--in-process", "--no-half", *flags], {})
        self.app = Easel(settings, build=self._build)
        self.app.start()

    def _build(self, settings: Settings) -> Workplace:
        self.places.append(build_workplace(settings))
        self.built = self.clock()
        return self.places[0]

    def clock(self) -> tuple[float, float, float]:
        """The time, the seconds of the engine's thread (idle ones too) read just then, and the time after that."""
        return time.perf_counter(), sum(self.places[0].engine.spent().values()), time.perf_counter()

    def run(self, bodies: list[dict[str, Any]]) -> list[Result]:
        """All at once."""
        jobs = []
        for body in bodies:
            kind = Img2ImgBody if "init_images" in body else Txt2ImgBody
            jobs.append(self.app.jobs.submit(read_request(self.app, kind(**body)).request))
        return [self.app.jobs.wait_blocking(job) for job in jobs]

    def spent(self) -> float:
        """Seconds of the engine's thread so far, idle ones left out."""
        told = self.places[0].engine.counters  # type: ignore[attr-defined]
        return told.tick_seconds + told.call_seconds + told.load_seconds


def charged(results: list[Result]) -> float:
    return sum(_engine(result.seconds) for result in results)


def _engine(seconds: Mapping[str, float]) -> float:
    return sum(spent for part, spent in seconds.items() if part in ENGINE)


def conserved(bench: Bench, bodies: list[dict[str, Any]]) -> list[Result]:
    results = bench.run(bodies)
    assert charged(results) == pytest.approx(bench.spent(), rel=0.01)
    (built, at_first, begun), (asked, at_last, told_at) = bench.built, bench.clock()
    assert (asked - begun) * 0.99 <= at_last - at_first <= (told_at - built) * 1.01
    told = summed(bench.app, Wanted(), "kind", workers=True)  # as the ledger has it, from the disk
    assert told["total"]["jobs"] == len(bodies)
    assert told["total"]["engine_seconds"] == pytest.approx(bench.spent(), rel=0.01)
    workers = told["workers"]
    assert workers["jobs"] == pytest.approx(bench.spent(), rel=0.01)
    whole = sum(workers[name] for name in ("start", "idle", "jobs", "lost", "running"))
    assert workers["allocated"] == pytest.approx(whole, rel=0.01)
    return results


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    import torch

    torch.set_num_threads(1)
    made = Bench(tmp_path)
    yield made
    made.app.stop()


def test_mixed_jobs_are_charged_all_that_the_engine_spent(bench: Bench) -> None:
    results = conserved(bench, list(MIXED))
    parts = [set(result.seconds) for result in results]
    assert all({QUEUE, "encode", "denoise", "decode", "save"} <= one for one in parts)
    assert "lora" in parts[1] and "compute" in parts[3] and "prompt-matrix" in parts[4]


def test_the_parts_of_a_job_that_is_alone_add_up_to_its_time(bench: Bench) -> None:
    for body in (SMALL | {"steps": 12, "width": 128, "height": 128}, SMALL | UPSCALED, MIXED[4]):
        bench.run([body])  # models are loaded and hashed, libraries imported
        started = time.perf_counter()
        (result,) = bench.run([body])
        taken = time.perf_counter() - started
        assert 0.8 * taken < sum(result.seconds.values()) <= taken * 1.02, result.seconds


def test_a_shared_tick_is_split_by_share(bench: Bench) -> None:
    bench.run([SMALL])
    before = bench.spent()
    one, two = bench.run([SMALL | {"steps": 40}, SMALL | {"steps": 40, "batch_size": 3}])
    assert one.seconds["denoise"] + two.seconds["denoise"] < bench.spent() - before
    assert one.seconds["denoise"] < two.seconds["denoise"]


def test_waiting_is_a_part_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "--max-jobs-in-flight", "1")
    try:
        bench.run([SMALL])
        first, second = bench.run([SMALL | {"steps": 30}, SMALL])
    finally:
        bench.app.stop()
    worked = sum(first.seconds.values()) - first.seconds[QUEUE]
    assert first.seconds[QUEUE] < worked < second.seconds[QUEUE] * 1.3


def test_cancelled_jobs_leave_the_others_what_is_theirs(bench: Bench) -> None:
    job = bench.app.jobs.submit(read_request(bench.app, Txt2ImgBody(**SMALL | {"steps": 900})).request)
    deadline = time.monotonic() + 100
    while not job.progress.step and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Timer(0.2, lambda: bench.app.jobs.signal("cancel", job)).start()
    (result,) = bench.run([SMALL])
    assert result.seconds["denoise"] < 5
    with pytest.raises(JobCancelled):
        bench.app.jobs.wait_blocking(job)
    spent = bench.app.jobs.seconds(job)
    assert {QUEUE, "encode", "denoise"} <= spent.keys()
    assert _engine(spent) + _engine(result.seconds) == pytest.approx(bench.spent(), rel=0.01)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_five_hundred_mixed_jobs(bench: Bench) -> None:
    draw = random.Random(5)
    bodies = [draw.choice(MIXED) | {"steps": draw.randint(1, 4), "seed": number} for number in range(500)]
    results = conserved(bench, bodies)
    total = Counter[str]()
    for result in results:
        total.update(result.seconds)
    print({part: round(seconds, 2) for part, seconds in total.items()}, round(bench.spent(), 2))
