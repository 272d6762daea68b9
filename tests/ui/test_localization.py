"""The page in another language: nothing of it is left in English, and extensions bring languages of their own."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from easel.options import rules
from easel.ui.localization import languages, texts_of, translator
from easel.ui.markup import WRITES
from easel.ui.tabs.settings import settings_form
from easel.values.user import User

from .conftest import Paged, Serve

CHECKOUT = Path(__file__).parents[2]
SOURCES = [
    *sorted((CHECKOUT / "core" / "easel" / "ui").rglob("*.py")),
    *sorted((CHECKOUT / "extensions").glob("*/tab.py")),
    CHECKOUT / "filebrowser" / "tab.py",
]
SHOWN = ("label", "info", "placeholder", "value", "title")  # of a component, by people
READ = ("aria-label", "placeholder", "title")  # of an element of HTML
CHINESE = re.compile(r"[\u4e00-\u9fff]")
WORD = re.compile(r"[A-Za-z]{2,}")
PROPER = re.compile(
    r"BeautifulPrompt|ControlNet|CLIP|DeepBooru|Lanczos|Stable Diffusion( XL)?|VAE|LoRA|R-ESRGAN AnimeVideo 4x|Rho|"
    r"Sigma (churn|tmax|tmin)|Top [kp]|starter(-canny)?"
)


def built(serve: Serve, *flags: str) -> Paged:
    """A service once its page is there: two that build at once get in each other's way in one process."""
    paged = serve(*flags)
    paged.root()
    return paged


@pytest.fixture(scope="module")
def chinese(serve: Serve) -> Paged:
    paged = built(serve, "--filebrowser")
    paged.app.options.update({"localization": "zh_CN"})
    assert paged.client.portal
    paged.client.portal.call(paged.mount.reload)
    return paged


class Words(HTMLParser):
    """The texts of HTML that people read; not code, and not what files hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("input", "img", "br"):
            self._inside.append(tag)
        self.found += [value for name, value in attributes if name in READ and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"code", "option", "textarea", "template", "style", "script"} & {*self._inside}:
            self.found.append(data)


def shown_in(value: Any) -> Iterator[str]:
    """The texts of a component's property."""
    if isinstance(value, str):
        words = Words()
        words.feed(value)
        yield from words.found


def texts_on_page(paged: Paged) -> Iterator[tuple[str, str]]:
    """Every text of the page, with the component that has it. What is picked from, people named, or files hold."""
    *_, build = paged.mount._builds.values()
    for component in build.app.get_blocks().config["components"]:
        kind, props = component["type"], component["props"]
        names = {str(value) for _, value in props.get("choices") or ()}
        where = f"{kind} {props.get('elem_id') or props.get('label')}"
        for name in SHOWN:
            if not (name == "value" and (kind in ("dropdown", "textbox") or str(props.get(name)) in names)):
                yield from ((where, text) for text in shown_in(props.get(name)))
        written, _, _ = str(props.get("js_on_load")).partition(";\n")
        if written.startswith(WRITES):
            yield from ((where, text) for text in shown_in(json.loads(written.removeprefix(WRITES))))
        if kind in ("radio", "checkboxgroup"):
            yield from ((where, str(title)) for title, _ in props["choices"])


def is_english(text: str) -> bool:
    return bool(WORD.search(PROPER.sub("", text))) and not CHINESE.search(text) and text.strip() not in rules()


def test_nothing_of_the_page_is_left_in_english(chinese: Paged) -> None:
    page: Any = SimpleNamespace(app=chinese.app, text=translator(chinese.app))
    texts = [*texts_on_page(chinese), *(("settings", text) for text in shown_in(settings_form(page)))]
    assert sum(bool(CHINESE.search(text)) for _, text in texts) > 250
    left = sorted({one for one in texts if is_english(one[1])})
    assert not left, "\n".join(map(str, left))


def test_all_that_the_code_says_has_chinese(chinese: Paged) -> None:
    known = texts_of(chinese.app, "zh_CN")
    said = {text for file in SOURCES for text in _said(ast.parse(file.read_text("utf-8")))}
    assert len(said) > 60
    assert sorted(text for text in said if WORD.search(text) and text not in known) == []


def test_what_is_told_of_jobs_and_extensions_has_chinese(chinese: Paged) -> None:
    from easel.ui.extension_details import details, listing
    from easel.ui.job_cards import cards, finished
    from easel.ui.tabs.usage import usage

    app, known, said = chinese.app, texts_of(chinese.app, "zh_CN"), set[str]()

    def text(english: str) -> str:
        said.add(english)
        return known.get(english, "")

    page: Any = SimpleNamespace(app=app, text=text)
    body = {"prompt": "", "steps": 2, "width": 64, "height": 64}
    answer = chinese.client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    assert chinese.client.post("/sdapi/v1/txt2img", json=body | {"script_name": "Loopback"}).status_code != 200
    *_, job = app.jobs.all()
    cards(page, app.jobs.all())
    finished(page, job)
    usage(page, User())
    usage(page, User("ann"))
    listing(page)
    for one in app.extensions.list():
        details(page, one.name)
    assert {"done", "save", "Who changed what", "unchanged", "Where it is"} <= said
    names = {one.name for one in app.extensions.list()}
    left = sorted(one for one in said - names if WORD.search(one) and one not in known)
    assert not left, "\n".join(left)


def _said(tree: ast.AST) -> Iterator[str]:
    """The literal arguments of `text(…)` and `page.text(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "text",
            "_",
            "words",
        ):
            literals = (part for one in node.args[:1] for part in ast.walk(one) if isinstance(part, ast.Constant))
            yield from (one.value for one in literals if isinstance(one.value, str))


def test_an_extension_brings_a_language_and_takes_it_along(serve: Serve) -> None:
    app = built(serve).app
    assert languages(app) == ("None", "zh_CN")
    folder = app.settings.data_dir / "extensions" / "greek"
    (folder / "localizations").mkdir(parents=True)
    (folder / "extension.toml").write_text(
        'name = "greek"\ntitle = "Greek"\nversion = "1"\nsummary = "a language"\nentry = "Greek"\neasel = ">=1,<2"\n'
    )
    (folder / "__init__.py").write_text("from easel import Extension\n\n\nclass Greek(Extension):\n    pass\n")
    (folder / "localizations" / "el_GR.json").write_text(json.dumps({"Generate": "Δημιουργία", "Prompt": 3}))
    (folder / "localizations" / "broken.json").write_text("[")
    app.extensions.rescan()
    assert languages(app) == ("None", "broken", "el_GR", "zh_CN")
    assert texts_of(app, "el_GR") == {"Generate": "Δημιουργία"}
    assert texts_of(app, "broken") == {}
    app.switch_extension("greek", False)
    assert languages(app) == ("None", "zh_CN")


def test_a_folder_of_the_operators_wins(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "zh_CN.json").write_text(json.dumps({"Generate": "画"}))
    app = built(serve, "--localizations-dir", str(tmp_path)).app
    assert texts_of(app, "zh_CN")["Generate"] == "画"
    assert texts_of(app, "zh_CN")["Prompt"] == "提示词"
