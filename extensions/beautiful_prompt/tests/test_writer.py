"""How words are drawn, against the library's own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easel import BadRequest, GenerationRequest, Job

QUESTION = "Input: a red cat\nOutput:"


@pytest.fixture
def written(bloom: Path) -> Any:
    """`written(seeds, **sampling)`: the answers of the tiny model."""
    from easel_extensions.beautiful_prompt.shelf import Sampling, Shelved
    from easel_extensions.beautiful_prompt.writer import write

    model = Shelved(name="tiny", about="", place="", folder=bloom)

    def answers(seeds: list[int], question: str = QUESTION, **sampling: Any) -> list[str]:
        return write(model, question, seeds, Sampling(**sampling), Job(id="1", request=GenerationRequest()))

    return answers


def test_the_likeliest_words_are_those_that_the_library_generates(written: Any, bloom: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bloom)
    ids = tokenizer(QUESTION, return_tensors="pt")["input_ids"]
    options = {"do_sample": False, "max_new_tokens": 30, "min_new_tokens": 1, "repetition_penalty": 1.3}
    made = AutoModelForCausalLM.from_pretrained(bloom).generate(ids, **options)
    theirs = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    assert written([1], temperature=0, max_new_tokens=30, repetition_penalty=1.3) == [theirs]


@pytest.mark.parametrize(
    ("temperature", "k", "p", "penalty"), [(1.0, 50, 0.95, 1.2), (0.7, 5, 0.5, 1.0), (2.0, 0, 1, 1.5)]
)
def test_shares_are_those_of_the_library(temperature: float, k: int, p: float, penalty: float) -> None:
    import torch
    from easel_extensions.beautiful_prompt.shelf import Sampling
    from easel_extensions.beautiful_prompt.writer import shares_of
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 300, generator=generator) * 3
    ids = torch.randint(0, 300, (3, 20), generator=generator)
    theirs = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)])
    theirs += [TopKLogitsWarper(k)] if k else []
    theirs += [TopPLogitsWarper(p)] if p < 1 else []
    ours = shares_of(logits, ids, Sampling(temperature=temperature, top_k=k, top_p=p, repetition_penalty=penalty))
    assert torch.equal(ours, theirs(ids, logits).softmax(dim=1))


@pytest.mark.parametrize("least", [{"top_p": 5e-324}, {"temperature": 1e-40}, {"top_k": 1}])
def test_the_least_of_an_option_is_the_likeliest_word(written: Any, least: dict[str, float]) -> None:
    assert written([1], max_new_tokens=8, **least) == written([2], max_new_tokens=8, temperature=0)


def test_seeds_draw_apart_and_touch_no_other_randomness(written: Any) -> None:
    import torch

    before = torch.random.get_rng_state()
    first, second = written([1, 2])
    assert first != second
    assert torch.equal(before, torch.random.get_rng_state())
    assert written([2]) == [second]


def test_a_cancelled_job_stops_between_words(written: Any, bloom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from easel_extensions.beautiful_prompt import writer
    from easel_extensions.beautiful_prompt.shelf import Sampling, Shelved

    from easel import JobCancelled

    monkeypatch.setattr(writer, "TURN", 0.0)
    job = Job(id="1", request=GenerationRequest())
    job.cancel()
    with pytest.raises(JobCancelled):
        writer.write(Shelved(name="tiny", about="", place="", folder=bloom), QUESTION, [1], Sampling(), job)


def test_a_question_as_long_as_the_model_reads_is_refused(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BloomConfig

    monkeypatch.setattr(BloomConfig, "max_position_embeddings", 8, raising=False)
    with pytest.raises(BadRequest, match="prompt: the text is too long for this model"):
        written([1])
    assert len(written([1], question="a", max_new_tokens=384)[0]) < 60
