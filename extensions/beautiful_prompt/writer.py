"""Drawing words from a causal language model, a few at a time between the engine's ticks.

Imported in a worker only: it needs torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from easel import BadRequest, Job

from .shelf import Sampling, Shelved

_COLDEST = 1e-3  # a temperature below is 0: dividing by it would leave no numbers
TURN = 0.2  # seconds of words before the engine has its turn again


@dataclass(frozen=True, slots=True)
class Writer:
    """A loaded model."""

    model: Any
    tokenizer: Any
    device: str

    @classmethod
    def load(cls, folder: str, device: str) -> Writer:
        """From a folder in Hugging Face's format, offline, without any code of its own."""
        transformers_logging.disable_progress_bar()  # nobody watches a worker's terminal
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype
        )
        return cls(model.to(device).eval(), tokenizer, device)

    @property
    def ends(self) -> set[int]:
        """The tokens that end an answer."""
        told = [self.model.generation_config.eos_token_id, self.model.config.eos_token_id, self.tokenizer.eos_token_id]
        return {one for ids in told if ids is not None for one in (ids if isinstance(ids, list) else [ids])}


@dataclass(slots=True)
class _Answers:
    """Answers on their way, one a row, all to the same question."""

    ids: Tensor  # (rows, tokens so far), the question first
    generators: list[torch.Generator]
    sampling: Sampling
    ends: set[int]
    left: int  # tokens that may still be drawn
    asked: int = 0  # tokens of the question
    past: Any = None
    over: set[int] = field(default_factory=set)  # rows that have ended

    @classmethod
    def begin(cls, writer: Writer, question: str, seeds: Sequence[int], sampling: Sampling) -> _Answers:
        """Errors: BadRequest when the question fills all that the model can read."""
        ids = writer.tokenizer(question, return_tensors="pt")["input_ids"]
        limit = getattr(writer.model.config, "max_position_embeddings", None)
        left = sampling.max_new_tokens if limit is None else min(sampling.max_new_tokens, limit - ids.shape[1])
        if left < 1:
            raise BadRequest("the text is too long for this model", field="prompt", value=question[-100:])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        rows = ids.expand(len(seeds), -1).to(writer.device)
        return cls(rows, generators, sampling, writer.ends, left, ids.shape[1])

    @torch.inference_mode()
    def go_on(self, writer: Writer, seconds: float) -> bool:
        """Draw tokens for about so long; whether there is more to do."""
        end = perf_counter() + seconds
        while self.left and len(self.over) < len(self.ids):
            new = self.ids if self.past is None else self.ids[:, -1:]
            mask = torch.ones_like(self.ids)
            out = writer.model(input_ids=new, attention_mask=mask, past_key_values=self.past, use_cache=True)
            self.past = out.past_key_values
            self._take(out.logits[:, -1].float())
            if perf_counter() > end:
                return True
        return False

    def _take(self, logits: Tensor) -> None:
        """Draw the next token of every row from (rows, vocabulary)."""
        if self.ids.shape[1] == self.asked and self.ends:
            logits[:, list(self.ends)] = -torch.inf  # an answer has at least one word
        shares = shares_of(logits, self.ids, self.sampling).cpu()
        drawn = [
            int(torch.multinomial(row, 1, generator=generator))
            for row, generator in zip(shares, self.generators, strict=True)
        ]
        self.over |= {row for row, token in enumerate(drawn) if token in self.ends}
        self.ids = torch.cat([self.ids, torch.tensor(drawn, device=self.ids.device)[:, None]], dim=1)
        self.left -= 1

    def texts(self, writer: Writer) -> list[str]:
        """The answers without the question and special tokens."""
        answers = []
        for row in self.ids[:, self.asked :].tolist():
            length = next((at for at, token in enumerate(row) if token in self.ends), len(row))
            answers.append(writer.tokenizer.decode(row[:length], skip_special_tokens=True))
        return answers


def shares_of(logits: Tensor, ids: Tensor, sampling: Sampling) -> Tensor:
    """What to draw from, (rows, vocabulary): after repetition penalty, temperature, top k and top p, in this order."""
    seen = logits.gather(1, ids)
    penalty = sampling.repetition_penalty
    logits = logits.scatter(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))
    if sampling.temperature < _COLDEST:
        return torch.zeros_like(logits).scatter(1, logits.argmax(dim=1, keepdim=True), 1.0)
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[1]:
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[:, -1:], -torch.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(descending=True)
        shares = ordered.softmax(dim=1)
        beyond = shares.cumsum(dim=1) - shares >= sampling.top_p
        beyond[:, 0] = False  # the likeliest stays, however small top p is
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    return logits.softmax(dim=1)


def write(model: Shelved, question: str, seeds: Sequence[int], sampling: Sampling, job: Job) -> list[str]:
    """An answer for each seed; the engine takes turns, and a cancelled job stops between them."""

    def with_writer(do: Callable[[Writer], Any]) -> Any:
        key = ("beautiful-prompt", model.folder)
        load = lambda device: Writer.load(str(model.folder), device)  # noqa: E731
        return job.compute(lambda: do(job.model(key, load, 2 * model.size)))

    answers = with_writer(lambda writer: _Answers.begin(writer, question, seeds, sampling))
    while with_writer(lambda writer: answers.go_on(writer, TURN)):
        job.raise_if_cancelled()
    texts: list[str] = with_writer(lambda writer: answers.texts(writer))
    return texts
