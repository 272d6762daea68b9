"""Every benchmark runs on the smallest sizes and prints its rows; the pieces they are made of measure right."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from torch import nn

from easel.bench import main
from easel.bench.checkpoints import TINY, checkpoint_in, data_folder, unet_flops
from easel.bench.figures import Figure, Report, Target, show
from easel.bench.page import browser_of
from easel.bench.redis_server import can_start
from easel.bench.suite import BENCHMARKS
from easel.bench.timing import Rounds, alternate, model_time
from easel.bench.together import mixed_requests
from easel.models.store import ModelStore

STORES = ("SQLite", "Redis") if can_start() else ("SQLite",)
ROWS = {
    "picture": [
        "one request",
        "one request",
        "time outside the models",
        "share of the matrix-multiply peak in the UNet",
    ],
    "blade": ["one request"],
    "together": ["1 tiny job, 64x64", "2 tiny jobs, 64x64"],
    "latency": ["4 steps beside 100, 64x64"],
    "start": [
        "easel --help",
        "server to its first answer",
        "the same in processor time",
        "server to its first picture",
    ],
    "memory": ["gateway", "worker", "worker, greatest", "gateway, growth", "worker, growth"],
    "page": ["first load, until Generate can be clicked", "a person's action, median", "… the slowest twentieth"],
    "queue": [
        *(f"{store}: put, {threads}" for threads in ("1 thread", "16 threads") for store in STORES),
        *(f"{store}: {what}, 100 queued" for store in STORES for what in ("put", "claim and commit")),
        "HTTP: from a put to its arrival, p50",
    ],
}


SLOW = ("blade", "start", "memory", "page")  # they compile, or start several servers


@pytest.mark.timeout(600)  # other programs may be at work here
@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.long) if one in SLOW else one for one in ROWS])
def test_each_benchmark_prints_its_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    file = tmp_path / "found.json"
    if name == "page" and browser_of() is None:
        pytest.skip("playwright or Chromium is not installed")
    assert main([name, "--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    (report,) = found["reports"]
    assert [row["what"] for row in report["figures"]] == ROWS[name]
    printed = capsys.readouterr().out
    assert f"{name}: {report['title']}" in " ".join(printed.split())
    assert found["machine"]["threads"] == 1 and "1 thread(s) used" in printed
    for row in report["figures"]:
        assert row["value"] > 0 or row["what"].endswith("growth")
        if row["ratio"] is not None:
            assert row["against"] and row["opponent"] > 0 and row["ratio"] > 0


def test_the_list_of_benchmarks_is_complete() -> None:
    assert list(BENCHMARKS) == list(ROWS)


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["pictures"])
    assert exit.value.code == 2
    assert "unknown benchmark 'pictures'; there are: picture, blade, together" in capsys.readouterr().err


def test_sides_take_turns_and_the_median_counts() -> None:
    order: list[str] = []
    seconds = iter([5.0, 1.0, 3.0])

    def first() -> float:
        order.append("a")
        return next(seconds)

    rounds = alternate({"a": first, "b": lambda: order.append("b")}, 3, warm_up=False)
    assert order == ["a", "b"] * 3
    assert rounds.median("a") == 3.0
    assert all(0 < spent < 1 for spent in rounds.seconds["b"])
    assert Rounds({"a": [2.0, 6.0, 4.0], "b": [1.0, 1.0, 2.0]}).ratio("a", "b") == 2.0


def test_time_in_models_is_told_from_time_around_them() -> None:
    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            return x

    model = nn.Sequential(Slow(), Slow())
    with model_time() as spent:
        model(torch.zeros(1))
        time.sleep(0.02)  # outside
        model[0](torch.zeros(1))
    model(torch.zeros(1))  # not counted any more
    assert spent.calls == {"Sequential": 1, "Slow": 1}
    assert spent.seconds["Sequential"] >= 0.04
    assert spent.total == pytest.approx(spent.seconds["Sequential"] + spent.seconds["Slow"])
    assert spent.per_call("Slow") >= 0.02


def test_targets_judge_the_ratio_where_there_is_one() -> None:
    fast = Target("at least", 1.5)
    assert Figure(what="x", value=1.0, ratio=1.6, target=fast).verdict == "met"
    assert Figure(what="x", value=9.0, ratio=1.4, target=fast).verdict == "missed"
    assert Figure(what="x", value=0.3, target=Target("below", 0.3)).verdict == "missed"
    assert Figure(what="x", value=3.0, target=Target("at most", 3.0)).verdict == "met"
    assert Figure(what="x", value=1.0, ratio=0.1, target=Target("at least", 1.7, here="for bf16")).verdict == ""


def test_a_table_shows_value_opponent_ratio_and_target() -> None:
    figure = Figure(
        what="it", value=1.0, against="them", opponent=2.0, ratio=2.0, target=Target("at least", 1.5), note="so"
    )
    console = Console(file=io.StringIO(), record=True, width=120)
    show(Report(name="n", title="t", figures=(figure,), remark="how"), console)
    text = console.export_text()
    for part in ("n: t", "1.00 s", "them", "2.00 s", "2.00x", "≥ 1.5 met", "so", "how"):
        assert part in text


def test_random_checkpoints_are_read_by_the_store_and_are_the_same_every_time() -> None:
    with data_folder(TINY) as one, data_folder(TINY) as two:
        info = ModelStore(one, hash_file=None).default_checkpoint()
        assert (info.name, info.family, info.refused_reason) == ("tiny", "SD1", None)
        file = "unet/diffusion_pytorch_model.safetensors"
        first, second = (checkpoint_in(data, TINY) / file for data in (one, two))
        assert first.read_bytes() == second.read_bytes()
        with safe_open(first, framework="pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118
    assert not one.exists()


def test_the_operations_of_a_pass_are_counted() -> None:
    assert unet_flops(TINY, side=64, rows=2) == 2 * unet_flops(TINY, side=64, rows=1)
    assert unet_flops(TINY, side=1024) > 4 * unet_flops(TINY, side=512)  # attention grows faster


def test_no_two_jobs_of_a_mix_are_alike() -> None:
    requests = mixed_requests(8, 64)
    for field in ("prompt", "seed", "sampler"):
        assert len({getattr(request, field) for request in requests}) == 8
    assert len({request.steps for request in requests}) > 4
