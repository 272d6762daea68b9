"""The pickers above the tabs: checkpoint and VAE.

They belong to the page: what is picked goes along with its requests. On a service without users it is also kept as the
service's option, as A1111 does, unless options are frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError, Forbidden
from easel.ui import choices
from easel.ui.markup import failed

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.ui.page import Page


def build_pickers(app: Easel, text: Callable[[str], str]) -> tuple[gr.Dropdown, gr.Dropdown, gr.Button]:
    """Checkpoint, VAE, and the button that looks for new files."""
    with gr.Row(elem_id="quicksettings", elem_classes="easel-row easel-pickers"):
        checkpoint = gr.Dropdown(
            choices.checkpoints(app),
            value=app.chosen_checkpoint().title,
            label=text("Checkpoint"),
            elem_id="setting_sd_model_checkpoint",
            min_width=200,
            scale=2,
        )
        vae = gr.Dropdown(
            choices.vaes(app), value=_vae(app), label=text("VAE"), elem_id="setting_sd_vae", min_width=140
        )
        refresh = gr.Button(
            "↻", elem_id="refresh_sd_model_checkpoint", elem_classes="easel-tool", scale=0, min_width=40, size="sm"
        )
    return checkpoint, vae, refresh


def connect_pickers(page: Page, refresh: gr.Button) -> None:
    """What they do; a page that is opened gets them as they are now."""
    page.titles["refresh_sd_model_checkpoint"] = page.text("Look for new models")
    pickers: list[Any] = [page.checkpoint, page.vae]

    def now() -> list[Any]:
        app = page.app
        chosen = gr.Dropdown(choices=choices.checkpoints(app), value=app.chosen_checkpoint().title)
        return [chosen, gr.Dropdown(choices=choices.vaes(app), value=_vae(app))]

    def look() -> list[Any]:
        page.app.refresh_models()
        return [gr.Dropdown(choices=choices.checkpoints(page.app)), gr.Dropdown(choices=choices.vaes(page.app))]

    def keep(title: str, vae: str, request: gr.Request) -> None:
        if (page.user(request).name and page.app.accounts is None) or not title:
            return  # of users, each has options of their own
        settings = page.app.settings
        frozen = frozenset(name.strip() for name in (settings.freeze_specific_settings or "").split(","))
        try:
            options = page.app.options
            changes = {"sd_model_checkpoint": page.app.store.checkpoint(title).filename, "sd_vae": vae}
            if title == page.app.chosen_checkpoint().title:
                del changes["sd_model_checkpoint"]
            if any(options.get(name) != value for name, value in changes.items()):
                options.update(changes, frozen=settings.freeze_settings or frozen)
        except Forbidden:
            pass  # it still goes along with this page's requests
        except EaselError as error:
            raise failed(error) from error

    page.on_load(now, [], pickers)
    refresh.click(look, None, pickers)
    for one in pickers:
        one.change(keep, pickers, None, show_progress="hidden")


def _vae(app: Easel) -> str:
    kept = app.options.get("sd_vae")
    return kept if kept in choices.vaes(app) else "Automatic"
