"""Checkpoints, LoRAs, embeddings and hypernetworks as cards: searched and paged here, chosen in the browser.

A click on a card writes its tag into the prompt (a second one takes it out again), or picks the checkpoint. Beside a
file may lie its picture (`name.preview.png`, `name.png` …) and what A1111 keeps about it (`name.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

import gradio as gr

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.models.store import Kind, ModelFile
    from easel.ui.page import Page

PAGE_SIZE = 24
TITLES: Mapping[Kind, str] = {
    "embedding": "Textual Inversion",
    "hypernetwork": "Hypernetworks",
    "checkpoint": "Checkpoints",
    "lora": "Lora",
}
_TAGS: Mapping[Kind, str] = {"lora": "lora", "hypernetwork": "hypernet"}
_PICTURES = tuple(f"{middle}{suffix}" for middle in (".preview", "") for suffix in (".png", ".jpg", ".jpeg", ".webp"))
_LARGEST_NOTE = 1 << 20  # bytes
_PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, slots=True)
class Shelf:
    """The cards that fit a search, one page of them. `page` counts from 0."""

    files: Sequence[ModelFile]
    page: int
    pages: int
    found: int


def shelf(app: Easel, kind: Kind, query: str, page: int) -> Shelf:
    """Page `page`, or the last there is, of the usable files whose names hold all words of `query`."""
    words = query.casefold().split()
    found = [
        file for file in app.store.files(kind) if file.refused_reason is None and (not words or _holds(file, words))
    ]
    pages = max(1, ceil(len(found) / PAGE_SIZE))
    page = min(max(0, page), pages - 1)
    return Shelf(found[page * PAGE_SIZE : (page + 1) * PAGE_SIZE], page, pages, len(found))


def _holds(file: ModelFile, words: Sequence[str]) -> bool:
    text = f"{file.filename} {file.alias}".casefold()
    return all(word in text for word in words)


def build_cards(page: Page, tab: str) -> None:
    """One inner tab for each kind, filled when it is opened."""
    for kind, title in TITLES.items():
        with gr.Tab(page.text(title), id=f"{tab}_{kind}") as inner:
            _build_kind(page, tab, kind, inner)


def _build_kind(page: Page, tab: str, kind: Kind, inner: gr.Tab) -> None:
    _ = page.text
    name = f"{tab}_{kind}"
    with gr.Row(elem_classes="easel-row easel-search"):
        query = gr.Textbox(
            "",
            label=_("Search …"),
            placeholder=_("Search …"),
            show_label=False,
            container=False,
            elem_id=f"{name}_search",
            min_width=160,
        )
        back = page.tool("‹", f"{name}_back", "Earlier cards")
        number = gr.Number(0, visible="hidden", precision=0)
        forth = page.tool("›", f"{name}_forth", "More cards")
        refresh = page.tool("↻", f"{name}_refresh", "Look for new models")
    shown = gr.HTML("", elem_id=f"{name}_cards", elem_classes="easel-bare")
    both = [query, number]

    def show(words: str, at: int | None) -> tuple[str, int]:
        found = shelf(page.app, kind, words or "", at or 0)
        return _html(page, name, kind, found), found.page

    def look(words: str, at: int | None) -> tuple[str, int]:
        page.app.refresh_models()
        return show(words, at)

    inner.select(show, both, [shown, number], **_PRIVATE)
    query.change(lambda words: show(words, 0), query, [shown, number], trigger_mode="always_last", **_PRIVATE)
    back.click(lambda words, at: show(words, (at or 0) - 1), both, [shown, number], **_PRIVATE)
    forth.click(lambda words, at: show(words, (at or 0) + 1), both, [shown, number], **_PRIVATE)
    refresh.click(look, both, [shown, number], **_PRIVATE)
    if kind == "checkpoint":
        picked = gr.Textbox("", visible="hidden", elem_id=f"{name}_picked", show_label=False, container=False)
        picked.change(lambda said: said.partition("\t")[0], picked, page.checkpoint, **_PRIVATE)


def _html(page: Page, name: str, kind: Kind, found: Shelf) -> str:
    if not found.files:
        said = page.text("Nothing found." if found.found == 0 else "")
        return f'<p class="easel-said">{escape(said)}</p>'
    cards = "".join(_card(page, name, kind, file) for file in found.files)
    count = f"{found.page + 1}/{found.pages} · {found.found}"
    return f'<div class="easel-cards">{cards}</div><p class="easel-said">{count}</p>'


def _card(page: Page, name: str, kind: Kind, file: ModelFile) -> str:
    app, short = page.app, file.name.rpartition("/")[2]
    note = _note(file.path)
    if kind == "checkpoint":
        title = getattr(file, "title", file.filename)
        does = f'data-easel-say="{escape(title)}" data-easel-to="{name}_picked"'
    else:
        does = f'data-insert="{escape(_words(app, kind, short, note))}"'
    folder = file.name.rpartition("/")[0]
    said = str(note.get("description") or "")
    return (
        f'<button class="easel-card" {does} title="{escape(said or file.filename)}">{_picture(app, file, short)}'
        f'<span class="easel-name">{escape(short)}</span>'
        f"{f'<small>{escape(folder)}</small>' if folder else ''}</button>"
    )


def _words(app: Easel, kind: Kind, name: str, note: Mapping[str, Any]) -> str:
    if kind not in _TAGS:
        return name
    weight = note.get("preferred weight") or app.options.get("extra_networks_default_multiplier")
    tag = f"<{_TAGS[kind]}:{name}:{weight:g}>" if isinstance(weight, int | float) else f"<{_TAGS[kind]}:{name}:1>"
    return " ".join(part for part in (tag, str(note.get("activation text") or "").strip()) if part)


def _picture(app: Easel, file: ModelFile, name: str) -> str:
    base = file.path.with_suffix("") if file.path.is_file() else file.path
    below = file.path.is_relative_to(app.settings.data_dir)  # elsewhere nothing is served from
    for ending in _PICTURES if below else ():
        picture = base.with_name(base.name + ending)
        if picture.is_file():
            source = f"sd_extra_networks/thumb?filename={quote(app.settings.shown(picture))}"
            return f'<img loading="lazy" alt="" src="{source}">'
    hue = crc32(name.encode()) % 360
    return f'<span class="easel-noimage" aria-hidden="true" style="--hue:{hue}">{escape(name[:2])}</span>'


def _note(path: Path) -> Mapping[str, Any]:
    """What A1111 keeps about a model beside it; {} for none that can be read."""
    file = path.with_suffix(".json")
    try:
        if file.stat().st_size > _LARGEST_NOTE:
            return {}
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
