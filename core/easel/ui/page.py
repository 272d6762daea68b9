"""The page as gradio `Blocks`: a row of pickers on top, and one tab after the other.

A tab is a module of `easel.ui.tabs` with `TITLE` (English; shown translated) and `build(page)`, which makes the tab's
components: it is called inside the tab's `gr.Tab`, once for each build of the page. `tabs` below lists them in order.
Extensions' tabs (`register_tabs`) follow by their `order`.

What tabs share is the `Page`:

- `page.app`: the service. gradio is never the source of truth; a tab asks the app and shows what it says.
- `page.text("Generate")`: a text in the page's language. Every text that people read goes through it.
- `page.user(request)`: whose event it is, for a listener with a parameter `request: gr.Request`.
- `page.places["txt2img"] = Place(tab="txt2img", parts={"prompt": …})`: what others may fill; a tab says so when built.
- `page.send(button, to="txt2img", fill=["prompt"], inputs=[box])`: a click fills the place and opens its tab, which may
  be built later. `page.senders(…)` is a row of such buttons as one component.
- `page.checkpoint`, `page.vae`: the pickers on top.
- `page.on_load(fn, inputs, outputs)`: for whoever opens the page; what is built is the same for everybody.
- `page.reload()`: makes a new build of the page and waits for it; whoever loads the page from then on gets it (call it
  in a listener that is no coroutine).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from html import escape
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from gradio.components import Component
from gradio.routes import App
from starlette.routing import Mount

from easel.api.auth import user_of
from easel.ui.localization import spoken, translator
from easel.ui.markup import live, tag
from easel.ui.pickers import build_pickers, connect_pickers

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.extensions.hooks import Owned
    from easel.values.user import User

log = logging.getLogger(__name__)
TABS = ("txt2img", "img2img", "extras", "png_info")
LAST_TABS = ("jobs", "usage", "settings", "extensions")  # after those of extensions
_MARGINS = "<style>.gradio-container > .main.fillable { padding: 2px 4px !important; }</style>"  # `css` cannot reach it
_SCRIPTS, _STYLES = ("page.js", "markup.js", "form.js", "cards.js"), ("page.css", "markup.css")
_CACHE = (3600, 24 * 3600)  # every hour, files of events go that are older than a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What others may fill in a tab: its components by name (`prompt`, `negative_prompt`, `picture`, `width` …).

    `tab` is the id of the tab to open, `inner` a row of tabs in it and the id of one of these. `fields` are those that
    are no component of their own: `form` holds them (`easel.ui.controls`).
    """

    tab: str
    parts: Mapping[str, Component]
    inner: tuple[gr.Tabs, str] | None = None
    form: Component | None = None
    fields: Collection[str] = ()

    @property
    def names(self) -> list[str]:
        """All that can be filled."""
        return [*self.parts, *self.fields]

    def outputs(self, names: Collection[str]) -> list[Component]:
        """The components that hold these."""
        direct = [part for name, part in self.parts.items() if name in names]
        return [*direct, *([self.form] if self.form is not None and self._formed(names) else [])]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """What a listener answers for `outputs`; None and `gr.skip()` leave a part as it is."""
        said = {name: gr.skip() if value is None else value for name, value in given.items()}
        direct = [said[name] for name in self.parts if name in said]
        if self.form is None or not (formed := self._formed(said)):
            return direct
        return [*direct, {name: said[name] for name in formed if not _skipped(said[name])} or gr.skip()]

    def _formed(self, names: Collection[str]) -> list[str]:
        return [name for name in names if name in self.fields]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    button: Any  # gr.Button, or `senders`
    to: str
    fill: Sequence[str]
    inputs: Sequence[Component]
    fn: Callable[..., Any]
    js: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the tabs of one build share; see the module."""

    app: Easel
    text: Callable[[str], str]
    reload: Callable[[], None]
    blocks: gr.Blocks
    tabs: gr.Tabs
    checkpoint: gr.Dropdown
    vae: gr.Dropdown
    places: dict[str, Place] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    _links: list[_Link] = field(default_factory=list)
    _kinds: set[type] = field(default_factory=set)  # of the components that the page begins with

    @property
    def uploads(self) -> Path:
        """Where files are that people gave to the page."""
        return self.app.page_files

    def user(self, request: gr.Request) -> User:
        """Whose event it is."""
        assert request.request is not None  # as it is in a listener
        return user_of(request.request)

    def on_load(
        self,
        fn: Callable[..., Any],
        inputs: Sequence[Component],
        outputs: Sequence[Component],
    ) -> None:
        """Call `fn` whenever somebody opens the page: what is built is the same for all of them."""
        self.blocks.load(fn, list(inputs), list(outputs), show_progress="hidden")

    def send(
        self,
        button: Any,
        *,
        to: str,
        fill: Sequence[str],
        inputs: Sequence[Component],
        fn: Callable[..., Any] | None = None,
        js: str | None = None,
    ) -> None:
        """Let a click put what `fn(*inputs)` returns (without it: the inputs) into a place and open its tab.

        `button`: a `gr.Button`, or `senders`, of which it is the one for `to`. `fill` names parts of the place, in the
        order of what is returned; those that it lacks are left out. `js` changes the inputs first, in the browser.
        """
        self._links.append(_Link(button=button, to=to, fill=fill, inputs=inputs, fn=fn or _as_given, js=js))

    def senders(self, name: str, titles: Mapping[str, str]) -> Any:
        """Buttons by the place that each sends to, for `send`; their ids are `name_send_PLACE`."""
        buttons = (
            tag("button", title, id=f"{name}_send_{place}", type="button", data_event=place)
            for place, title in titles.items()
        )
        return live(tag("div", *buttons, class_="easel-actions"), elem_id=f"{name}_senders", events=list(titles))

    @contextmanager
    def tab(self, tab: gr.Tab) -> Iterator[None]:
        """Build a tab in it. Kinds of components that the first tab lacks are loaded when the tab is opened."""
        before = set(self.blocks.blocks)
        with tab:
            yield
        made = [one for number, one in self.blocks.blocks.items() if number not in before]
        if not self._kinds:
            self._kinds.update(map(type, self.blocks.blocks.values()))
        later = [one for one in made if isinstance(one, Component) and type(one) not in self._kinds]
        later = [one for one in later if getattr(one, "visible", None) is True and not isinstance(one, gr.State)]
        for one in later:
            one.visible = False
        if later:
            shown = ", ".join(["{__type__: 'update', visible: true}"] * len(later))
            js = f"() => [{shown}]" if len(later) > 1 else f"() => ({shown})"
            tab.select(None, None, later, js=js, show_progress="hidden", queue=False)

    def link(self) -> None:
        """Connect the buttons, once all tabs are there; one whose place is not on this page disappears."""
        for one in self._links:
            place = self.places.get(one.to)
            if place is None:
                if isinstance(one.button, gr.Button):
                    one.button.visible = False
                else:
                    one.button.elem_classes.append(f"easel-without-{one.to}")
                continue
            opened = [(self.tabs, place.tab), *([place.inner] if place.inner else [])]
            clicked = one.button.click if isinstance(one.button, gr.Button) else getattr(one.button, one.to)
            clicked(
                _put(one.fn, one.fill, place, [tab for _, tab in opened]),
                list(one.inputs),
                [*place.outputs([name for name in one.fill if name in place.names]), *(tabs for tabs, _ in opened)],
                js=one.js,
                show_progress="hidden",
            )


def make_page(app: Easel, reload: Callable[[], None]) -> App:
    """Build the page as an ASGI application. Errors: what a tab of ours raises."""
    with gr.Blocks(title="Easel", analytics_enabled=False, fill_width=True, delete_cache=_CACHE) as blocks:
        text = translator(app)
        checkpoint, vae, refresh = build_pickers(app, text)
        with gr.Tabs(elem_id="easel-tabs") as tabs:
            page = Page(app=app, text=text, reload=reload, blocks=blocks, tabs=tabs, checkpoint=checkpoint, vae=vae)
            hidden = {name.casefold() for name in app.settings.always_hide_tabs}
            for name in TABS:
                _tab(page, name, hidden)
            for owned in sorted(app.extensions.hooks.tabs, key=lambda one: one.value.order):
                if owned.value.title.casefold() not in hidden:
                    _extension_tab(page, owned)
            for name in LAST_TABS:
                _tab(page, name, hidden)
        page.link()
        connect_pickers(page, refresh)
        gr.HTML(f"<template id='easel-titles'>{escape(json.dumps(page.titles))}</template>", visible="hidden")
        for listener in blocks.fns.values():
            listener.api_visibility = "private"  # programs have the service's own API
    return _served(blocks, app.settings.theme, str(app.options.get("localization")))


def _tab(page: Page, name: str, hidden: Collection[str]) -> None:
    module = import_module(f"easel.ui.tabs.{name}")
    if name in hidden or module.TITLE.casefold() in hidden:
        return
    with page.tab(gr.Tab(page.text(module.TITLE), id=name, elem_id=f"easel-tab-{name}")):
        module.build(page)


def _extension_tab(page: Page, owned: Owned) -> None:
    """An extension's tab; one that cannot be built says so in its place."""
    tab = owned.value
    with page.tab(gr.Tab(page.text(tab.title), id=f"{owned.extension}/{tab.title}")):
        try:
            tab.build(page)
        except Exception as error:  # an extension's
            log.exception("extension %s: its tab %s cannot be built", owned.extension, tab.title)
            gr.Markdown(f"{page.text('This tab cannot be shown')}: {type(error).__name__}")


def _served(blocks: gr.Blocks, theme: str | None, language: str) -> App:
    """`theme`: light, dark, None for what the browser prefers."""
    files = resources.files(__package__)
    script, css = ("".join(files.joinpath(name).read_text("utf-8") for name in names) for names in (_SCRIPTS, _STYLES))
    blocks.queue(default_concurrency_limit=None, api_open=False)
    outer = FastAPI()
    gr.mount_gradio_app(
        outer,
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=True,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(),
        css=css,
        head=f"{_MARGINS}<script>{spoken(language)}\nwindow.easelTheme = {json.dumps(theme)};\n{script}</script>",
    )
    mounted = outer.router.routes[-1]
    assert isinstance(mounted, Mount) and isinstance(mounted.app, App)
    return mounted.app


def _theme() -> gr.themes.Base:
    """Dense, in the system's own fonts: gradio's would come from elsewhere."""
    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="gray",
        spacing_size="sm",
        radius_size="sm",
        text_size="sm",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def _as_given(*values: Any) -> Any:
    return values[0] if len(values) == 1 else values


def _put(fn: Callable[..., Any], fill: Sequence[str], place: Place, tabs: Sequence[str]) -> Callable[..., Any]:
    """`fn`, whose values fill the place, opening its tabs; its parameters stay, since gradio reads them."""

    @wraps(fn)
    def put(*args: Any) -> Any:
        values = fn(*args)
        given = dict(zip(fill, values if len(fill) > 1 else (values,), strict=True))
        filled = place.values({name: value for name, value in given.items() if name in place.names})
        return [*filled, *(gr.Tabs(selected=one) for one in tabs)]

    return put


def _skipped(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update"
