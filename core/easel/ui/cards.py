"""Checkpoints, LoRAs, embeddings and hypernetworks as cards: searched and paged here, chosen in `cards.js`.

A click on a card writes its tag into the prompt (a second one takes it out again), or picks the checkpoint. Beside a
file may lie its picture (`name.preview.png`, `name.png` …) and what A1111 keeps about it (`name.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

import gradio as gr

from easel.ui.controls import tool
from easel.ui.markup import Html, failed, joined, scripted, tag

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.models.store import Kind, ModelFile
    from easel.ui.page import Page

PAGE_SIZE = 24
_SCRIPT = "easel.cards(element, props, trigger, watch);"
TITLES: Mapping[Kind, str] = {
    "embedding": "Textual Inversion",
    "hypernetwork": "Hypernetworks",
    "checkpoint": "Checkpoints",
    "lora": "Lora",
}
_TAGS: Mapping[Kind, str] = {"lora": "lora", "hypernetwork": "hypernet"}
_PICTURES = tuple(f"{middle}{suffix}" for middle in (".preview", "") for suffix in (".png", ".jpg", ".jpeg", ".webp"))
_LARGEST_NOTE = 1 << 20  # bytes


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
    """A row of tabs, the first of which is what is built below it; behind the others one kind of cards."""
    shown = scripted(_frame(page), _SCRIPT, elem_id=f"{tab}_cards")

    def act(event: gr.EventData) -> tuple[Any, Any]:
        asked = event._data
        if asked["act"] == "pick":
            return gr.skip(), asked["title"]
        if (kind := asked["kind"]) not in TITLES:
            raise failed(f"kind: {kind!r} has no cards; allowed: {', '.join(TITLES)}")
        if asked["act"] == "refresh":
            page.app.refresh_models()
        found = shelf(page.app, kind, asked["words"], int(asked["page"]))
        return asked | {"page": found.page, "cards": _html(page, kind, found)}, gr.skip()

    # not "always_last": gradio loses an event's data then
    shown.act(act, None, [shown, page.checkpoint], trigger_mode="multiple", show_progress="hidden")


def _frame(page: Page) -> Html:
    """What stays: tabs, the search, and where the cards will be."""

    def tab(title: str, kind: str | None) -> Html:
        attributes: dict[str, Any] = {"role": "tab", "type": "button", "aria_selected": str(kind is None).lower()}
        return tag("button", page.text(title), data_kind=kind, **attributes)

    tabs = tab("Generation", None), *(tab(title, kind) for kind, title in TITLES.items())
    bar = tag(
        "div",
        tag("input", type="search", placeholder=page.text("Search …"), aria_label=page.text("Search …")),
        tool("‹", page.text("Earlier cards"), data_act="show", data_by=-1),
        tool("›", page.text("More cards"), data_act="show", data_by=1),
        tool("↻", page.text("Look for new models"), data_act="refresh"),
        class_="easel-bar-of-buttons",
    )
    panel = tag("div", bar, tag("div", data_cards=True), role="tabpanel", hidden=True)
    return joined([tag("div", *tabs, role="tablist", class_="easel-kinds"), panel])


def _html(page: Page, kind: Kind, found: Shelf) -> Html:
    if not found.files:
        return tag("p", page.text("Nothing found."), class_="easel-said")
    cards = tag("div", *(_card(page, kind, file) for file in found.files), class_="easel-cards")
    told = tag("p", f"{found.page + 1}/{found.pages} · {found.found}", class_="easel-said")
    return joined([cards, told])


def _card(page: Page, kind: Kind, file: ModelFile) -> Html:
    app, (folder, _, short) = page.app, file.name.rpartition("/")
    note = _note(file.path)
    if kind == "checkpoint":
        does = {"data_act": "pick", "data_title": getattr(file, "title", file.filename)}
    else:
        does = {"data_insert": _words(app, kind, short, note)}
    return tag(
        "button",
        _picture(app, file, short),
        tag("span", short, class_="easel-name"),
        tag("small", folder) if folder else "",
        type="button",
        class_="easel-card",
        title=str(note.get("description") or "") or file.filename,
        **does,
    )


def _words(app: Easel, kind: Kind, name: str, note: Mapping[str, Any]) -> str:
    if kind not in _TAGS:
        return name
    weight = note.get("preferred weight") or app.options.get("extra_networks_default_multiplier")
    tag = f"<{_TAGS[kind]}:{name}:{weight:g}>" if isinstance(weight, int | float) else f"<{_TAGS[kind]}:{name}:1>"
    return " ".join(part for part in (tag, str(note.get("activation text") or "").strip()) if part)


def _picture(app: Easel, file: ModelFile, name: str) -> Html:
    base = file.path.with_suffix("") if file.path.is_file() else file.path
    below = file.path.is_relative_to(app.settings.data_dir)  # elsewhere nothing is served from
    for ending in _PICTURES if below else ():
        picture = base.with_name(base.name + ending)
        if picture.is_file():
            source = f"sd_extra_networks/thumb?filename={quote(app.settings.shown(picture))}"
            return tag("img", loading="lazy", alt="", src=source)
    hue = crc32(name.encode()) % 360
    return tag("span", name[:2], class_="easel-noimage", aria_hidden="true", style=f"--hue:{hue}")


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
