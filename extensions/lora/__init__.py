"""LoRA prompt tags: `<lora:name:weight>` in a prompt becomes an adapter, and is cut from the text that is encoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from easel import Adapter, BadRequest, Extension, Job, Prompt, ReportLine, extract_networks, hookimpl

from .library import LoraFile, find, short_hash
from .tags import WORDS, Wish, read_tag


class Lora(Extension):
    """Reads the tags; the weights are read and applied by the engine."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the model store, which knows the files."""
        self._store = app.store
        self._hashes: dict[tuple[Path, int], str] = {}  # by path and time of change

    @hookimpl(trylast=True)  # after whatever writes or expands prompts
    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt | None:
        """Adapters from the tags of the first prompt of the batch; the tags of all are cut."""
        positive, wishes = _cut(prompt.positive)
        hires_positive, hires_wishes = _cut(prompt.hires_positive)
        if (positive, hires_positive) == (prompt.positive, prompt.hires_positive):
            return None
        prompt = replace(prompt, positive=positive, hires_positive=hires_positive)
        if job.request.disable_extra_networks:
            return prompt
        found = self._found(wishes, job)
        hires_found = self._found(hires_wishes, job)
        named = {_plain(wish.name): file for wish, file in (*found, *hires_found) if self._store.hashing}
        hashes = ", ".join(f"{name}: {self._hash(file)}" for name, file in named.items())
        return replace(
            prompt,
            adapters=(*prompt.adapters, *_adapters(found)),
            hires_adapters=(*prompt.hires_adapters, *_adapters(hires_found)),
            extra_infotext=(*prompt.extra_infotext, *((("Lora hashes", hashes),) if hashes else ())),
        )

    def _found(self, wishes: tuple[Wish, ...], job: Job) -> list[tuple[Wish, LoraFile]]:
        """The wishes that there is a file for; the others are reported. Errors: BadRequest in a strict request."""
        files = self._store.files("lora")
        if any(isinstance(find(wish.name, files), str) for wish in wishes):
            self._store.refresh()  # it may have been copied in since
            files = self._store.files("lora")
        found = []
        for wish in wishes:
            file = find(wish.name, files)
            if isinstance(file, str):
                self._ignore(wish, file, job)
                continue
            for note in wish.notes:
                self._ignore(wish, note, job)
            job.note(ReportLine(item=wish.tag, outcome="applied", extension=self.name))
            found.append((wish, file))
        return found

    def _ignore(self, wish: Wish, reason: str, job: Job) -> None:
        if job.request.strict:
            raise BadRequest(f"{wish.tag} would be ignored: {reason} (the request is strict)")
        job.warn(f"{wish.tag}: {reason}")
        job.note(ReportLine(item=wish.tag, outcome="ignored", reason=reason, extension=self.name))

    def _hash(self, file: LoraFile) -> str:
        key = (file.path, file.path.stat().st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = short_hash(file)
        return self._hashes[key]


def _cut(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Wish, ...]]:
    """The texts without tags, and what the first one's tags ask for."""
    if not texts:
        return (), ()
    _, tags = extract_networks(texts[0], WORDS)
    return tuple(extract_networks(text, WORDS)[0] for text in texts), tuple(map(read_tag, tags))


def _adapters(found: list[tuple[Wish, LoraFile]]) -> tuple[Adapter, ...]:
    """One adapter per file, with the sum of its weights.

    A name that comes again counts again, but each time with what its last tag says: A1111's quirk.
    """
    adapters: dict[tuple[Path, int | None], Adapter] = {}
    last = {wish.name: wish for wish, _ in found}
    for named, file in found:
        wish = last[named.name]
        key = (file.path, wish.dyn_dim)
        before = adapters.get(key)
        adapters[key] = Adapter(
            name=wish.name,
            file=str(file.path),
            text_weight=wish.text_weight + (before.text_weight if before else 0.0),
            unet_weight=wish.unet_weight + (before.unet_weight if before else 0.0),
            dyn_dim=wish.dyn_dim,
        )
    return tuple(adapter for adapter in adapters.values() if adapter.text_weight or adapter.unet_weight)


def _plain(name: str) -> str:
    """A name as it may stand in a list of `name: hash, name: hash`."""
    return name.replace(":", "").replace(",", "")
