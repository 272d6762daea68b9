"""Hypernetwork prompt tags: `<hypernet:name:weight>` in a prompt becomes an adapter, and leaves the text."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from easel import (
    Adapter,
    BadRequest,
    Extension,
    ExtraNetworkTag,
    Job,
    Prompt,
    RefusedFile,
    ReportLine,
    UnknownName,
    extract_networks,
    hookimpl,
)

STRONGEST = 20.0
"""Weights count up to this, either sign: what is beyond makes noise of a picture and soon not-a-number of it."""


class Hypernetworks(Extension):
    """Reads the tags; the files are read and applied by the engine."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the model store, which knows the files."""
        self._store = app.store

    @hookimpl(trylast=True)  # after whatever writes or expands prompts
    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt | None:
        """Adapters from the tags of the first prompt of the batch; the tags of all are cut."""
        positive, tags = _cut(prompt.positive)
        hires_positive, hires_tags = _cut(prompt.hires_positive)
        if (positive, hires_positive) == (prompt.positive, prompt.hires_positive):
            return None
        prompt = replace(prompt, positive=positive, hires_positive=hires_positive)
        if job.request.disable_extra_networks:
            return prompt
        return replace(
            prompt,
            adapters=(*prompt.adapters, *self._adapters(tags, job)),
            hires_adapters=(*prompt.hires_adapters, *self._adapters(hires_tags, job)),
        )

    def _adapters(self, tags: tuple[ExtraNetworkTag, ...], job: Job) -> tuple[Adapter, ...]:
        """One adapter a tag, in their order; a file named twice is applied twice. Errors: BadRequest."""
        adapters = (self._adapter(tag, job) for tag in tags)
        return tuple(one for one in adapters if one is not None and one.unet_weight)

    def _adapter(self, tag: ExtraNetworkTag, job: Job) -> Adapter | None:
        name, *values = tag.positional or ("",)
        try:
            file = self._find(name)
        except (UnknownName, RefusedFile) as error:
            self._ignore(tag, error.message, job)
            return None
        for value in values[1:]:
            self._ignore(tag, f"{value!r} is one value too many", job)
        for key, value in tag.named.items():
            if key != "unet":
                self._ignore(tag, f"{key}={value} means nothing here", job)
        weight = _number(tag, tag.named.get("unet", values[0] if values else "1"))
        if abs(weight) > STRONGEST:
            self._ignore(tag, f"weight {weight:g} is beyond {STRONGEST:g}, which is used instead", job)
            weight = math.copysign(STRONGEST, weight)
        job.note(ReportLine(item=str(tag), outcome="applied", extension=self.name))
        return Adapter(kind="hypernetwork", name=name, file=str(file.path), text_weight=0.0, unet_weight=weight)

    def _find(self, name: str) -> Any:
        """The file; one that was copied in while the service runs is found too. Errors: UnknownName, RefusedFile."""
        try:
            return self._store.find("hypernetwork", name)
        except (UnknownName, RefusedFile):
            self._store.refresh()
        return self._store.find("hypernetwork", name)

    def _ignore(self, tag: ExtraNetworkTag, reason: str, job: Job) -> None:
        if job.request.strict:
            raise BadRequest(f"{tag} would be ignored: {reason} (the request is strict)")
        job.warn(f"{tag}: {reason}")
        job.note(ReportLine(item=str(tag), outcome="ignored", reason=reason, extension=self.name))


def _cut(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[ExtraNetworkTag, ...]]:
    """The texts without tags, and the first one's tags."""
    pairs = [extract_networks(text, ("hypernet",)) for text in texts]
    return tuple(text for text, _ in pairs), pairs[0][1] if pairs else ()


def _number(tag: ExtraNetworkTag, written: str) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise BadRequest(f"the weight in {tag} is not a number", field="weight", value=written, allowed="e.g. 0.8")
    return weight
