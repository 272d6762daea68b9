"""The top of a generation tab: prompts with their token counters, styles, Generate, and the small buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.api.auth import refuse_user_unless_operator
from easel.errors import BadRequest, EaselError
from easel.models.store import STARTER
from easel.prompt.chunks import CHUNK_LENGTH, Chunker
from easel.prompt.schedule import conditions
from easel.prompt.styles import Style, delete_style, finished, save_style, styles_of
from easel.prompt.syntax import extract_networks
from easel.prompt.tokenizer import ClipTokenizer
from easel.ui import choices
from easel.ui.controls import tool
from easel.ui.markup import Html, failed, joined, live, tag

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.ui.page import Page

ACTIONS = ("resume", "generate", "interrupt", "skip", "paste", "style_apply", "style_save", "style_delete")
_TOOLS = (
    ("paste", "↙", "Read generation data from the prompt into the page"),
    ("clear_prompt", "✕", "Clear the prompts"),
    ("style_apply", "✎", "Write the chosen styles into the prompts"),
    ("style_save", "+", "Save the prompts as the style whose name is typed below"),
    ("style_delete", "−", "Delete the chosen styles"),
)
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}


@dataclass(frozen=True, slots=True)
class Prompts:
    """The components at the top."""

    prompt: gr.Textbox
    negative: gr.Textbox
    styles: gr.Dropdown
    actions: Any
    """Buttons; its events are `ACTIONS`."""


def build_prompts(page: Page, kind: str) -> Prompts:
    """Prompts on the left, what to do with them on the right."""
    _ = page.text
    with gr.Row(elem_id=f"{kind}_toprow", elem_classes="easel-toprow"):
        with gr.Column(scale=6, min_width=320, elem_classes="easel-prompts"):
            prompt = _box(
                page, f"{kind}_prompt", _("Prompt"), _("Prompt (Ctrl+Enter generates, Alt+Enter skips, Esc interrupts)")
            )
            negative = _box(page, f"{kind}_neg_prompt", _("Negative prompt"), _("Negative prompt"))
        with gr.Column(scale=1, min_width=240, elem_classes="easel-doing"):
            actions = live(_buttons(_, kind), elem_id=f"{kind}_actions", events=ACTIONS)
            styles = gr.Dropdown(
                choices.styles(page.app),
                value=[],
                multiselect=True,
                allow_custom_value=True,  # the name of a style to save
                label=_("Styles"),
                show_label=False,
                container=False,
                elem_id=f"{kind}_styles",
                elem_classes="easel-styles",
            )
    page.titles["easel-no-data"] = _("There are no generation data in it.")
    prompts = Prompts(prompt, negative, styles, actions)
    _connect_styles(page, prompts)
    return prompts


def _buttons(words: Callable[[str], str], kind: str) -> Html:
    """Generate, in whose place are Interrupt and Skip while a job runs; below them the small ones."""

    def large(action: str, title: str, class_: str) -> Html:
        return tag("button", words(title), id=f"{kind}_{action}", type="button", class_=class_, data_event=action)

    def small(action: str, symbol: str, title: str) -> Html:
        does = {"data_empties": kind} if action == "clear_prompt" else {"data_event": action}
        return tool(symbol, words(title), id=f"{kind}_{action}", **does)

    stop = (large(title.lower(), title, "easel-stop") for title in ("Interrupt", "Skip"))
    go = tag("div", large("generate", "Generate", "primary"), *stop, class_="easel-go", data_resume=kind)
    return joined([go, tag("div", *(small(*one) for one in _TOOLS), class_="easel-smalls")])


def _connect_styles(page: Page, prompts: Prompts) -> None:
    """Apply, save and delete styles; the list is read anew when it is opened.

    They are everybody's, for operators to change, but where each user has a data folder of their own.
    """
    settings, styles = page.app.settings, prompts.styles
    texts: list[Any] = [prompts.prompt, prompts.negative, styles]
    shared = page.app.accounts is None or bool(settings.styles_file)

    def refuse(request: gr.Request) -> None:
        if shared:
            refuse_user_unless_operator(page.user(request))

    def listed(**more: Any) -> Any:
        return gr.Dropdown(choices=choices.styles(page.app), **more)

    def keep(prompt: str, negative: str, names: list[str], request: gr.Request) -> Any:
        try:
            refuse(request)
            if len(names) != 1:
                raise BadRequest(page.text("Type one name into the list of styles first"))
            save_style(settings, Style(names[0].strip(), prompt, negative))
        except EaselError as error:
            raise failed(error) from None
        gr.Info(page.text("Saved."), duration=3)
        return listed(value=[])

    def forget(names: list[str], request: gr.Request) -> Any:
        try:
            refuse(request)
            for name in names:
                delete_style(settings, name)
        except EaselError as error:
            raise failed(error) from None
        return listed(value=[])

    prompts.actions.style_apply(_applying(page.app), texts, texts, **QUIET)
    prompts.actions.style_save(keep, texts, styles, show_progress="hidden")  # queued: it has something to say
    prompts.actions.style_delete(forget, styles, styles, show_progress="hidden")
    styles.focus(lambda: listed(), None, styles, show_progress="hidden")


def _box(page: Page, name: str, label: str, placeholder: str) -> gr.Textbox:
    counter = gr.HTML(_count_html(0, 1), elem_id=f"{name}_tokens", elem_classes="easel-tokens")
    box = gr.Textbox(
        label=label, show_label=False, placeholder=placeholder, lines=3, max_lines=12, elem_id=name, container=False
    )
    box.change(_counting(page.app), box, counter, trigger_mode="always_last", **QUIET)
    return box


def _counting(app: Easel) -> Callable[[str], str]:
    chunker = Chunker(ClipTokenizer.from_folder(STARTER / "tokenizer"))

    def count(text: str) -> str:
        """Tokens of a prompt and how many there is room for; a question mark while it is not well-formed."""
        try:
            plain, _tags = extract_networks(text or "")
            stages = (stage.text for one in conditions(plain, 20) for stage in one.schedule)
            chunked = [chunker.chunk(one) for one in stages]
        except EaselError:
            return '<span class="easel-count">?</span>'
        return _count_html(max(one.token_count for one in chunked), max(len(one.chunks) for one in chunked))

    return count


def _count_html(tokens: int, chunks: int) -> str:
    return f'<span class="easel-count">{tokens}/{chunks * CHUNK_LENGTH}</span>'


def _applying(app: Easel) -> Callable[..., tuple[str, str, list[str]]]:
    def apply(prompt: str, negative: str, names: list[str]) -> tuple[str, str, list[str]]:
        """The prompts with the styles written in."""
        known: Mapping[str, Style] = {style.name: style for style in styles_of(app.settings)}
        chosen = [known[name].texts for name in names if name in known]
        return *finished(prompt, negative, chosen, comments=False), []

    return apply
