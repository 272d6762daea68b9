"""Extensions: what there is, what became of each, on and off, their settings; what they did with the last job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.api.auth import is_loopback, refuse_user_unless_operator
from easel.errors import EaselError, Forbidden
from easel.extensions.form import form
from easel.extensions.install import install
from easel.extensions.status import State
from easel.ui.extension_details import details, listing, readme
from easel.ui.markup import Html, failed, given, into_view, live, tag
from easel.ui.traced import explained
from easel.values.job import JobState
from easel.values.result import Result

if TYPE_CHECKING:
    from easel.ui.page import Page
    from easel.values.job import Job

TITLE = "Extensions"
_LOAD_AGAIN = "() => location.reload()"


def build(page: Page) -> None:
    """The tab: three more in it."""
    with gr.Tabs():
        with gr.Tab(page.text("Installed")):
            shown = _installed(page)
        with gr.Tab(page.text("What happened")):
            _happened(page)
        with gr.Tab(page.text("Install")):
            _install(page, shown)


def _installed(page: Page) -> Any:
    shown = live(listing(page), elem_id="easel-extensions")
    about = live(elem_id="easel-extension")
    text = gr.Markdown(elem_id="easel-readme", elem_classes="easel-readme")

    def act(event: gr.EventData, request: gr.Request) -> tuple[Any, Any, Any]:
        name = event._data.get("name", "")
        if page.app.accounts is None or event._data["act"] != "details":
            _operator(page, request)
        try:
            match event._data["act"]:
                case "rescan":
                    page.app.extensions.rescan()
                    return listing(page), gr.skip(), gr.skip()
                case "release":
                    page.app.extensions.release(name)
                case "configure":
                    _configure(page, name, event._data["values"])
                    gr.Info(page.text("Saved."), duration=3)
            return listing(page, name), details(page, name), readme(page, name)
        except EaselError as error:
            raise failed(error) from None

    def apply(event: gr.EventData, request: gr.Request) -> None:
        if page.app.accounts is None:  # of users, each switches for themselves
            _operator(page, request)
        try:
            for name, on in event._data["values"].items():
                if on != (page.app.extensions.status(name).state is not State.DISABLED):
                    page.app.switch_extension(name, on)
        except EaselError as error:
            raise failed(error) from None
        page.reload()

    for one in (shown, about):
        acted = one.act(act, None, [shown, about, text], show_progress="hidden")
        acted.success(None, None, None, js=into_view("easel-extension"))
    shown.opened(lambda: listing(page), None, shown, show_progress="hidden")
    shown.reload(apply, None, None).success(None, None, None, js=_LOAD_AGAIN)
    return shown


def _configure(page: Page, name: str, values: dict[str, Any]) -> None:
    """Store what differs from the defaults. Errors: those of `Registry.configure`."""
    model = page.app.extensions.settings(name).model
    fields = form(model) if model else ()
    defaults = {one.name: one.value for one in fields}
    read = given(fields, values)
    page.app.extensions.configure(name, {key: value for key, value in read.items() if value != defaults[key]})


def _happened(page: Page) -> None:
    def last(request: gr.Request) -> Html:
        name = page.user(request).name
        for job in reversed(page.app.jobs.all()):
            if job.user == name and job.request.kind != "task" and (result := _result(page, job)) is not None:
                title = tag("h3", job.request.prompt[:200] or job.id)
                return Html(title + explained(result, job.told, page.text))
        return tag("p", page.text("Make a picture first: here stands what each extension did with it."))

    shown = live(elem_id="easel-happened")
    shown.opened(last, None, shown, show_progress="hidden")


def _result(page: Page, job: Job) -> Result | None:
    try:
        outcome = page.app.jobs.outcome(job) if page.app.jobs.state(job) is JobState.DONE else None
    except EaselError:
        return None  # forgotten
    return outcome if isinstance(outcome, Result) else None


def _install(page: Page, shown: Any) -> None:
    """From a file. Over the network only where the operator allows it: it is code that runs on the service."""
    settings = page.app.settings
    if not settings.enable_insecure_extension_access and not is_loopback(settings.host):
        said = "This service can be reached from other machines: install with `easel install FILE` on its own."
        gr.Markdown(page.text(said))
        return
    warning = "A ZIP file or a wheel with an `extension.toml`. Its code will run here: take it from people you trust."
    gr.Markdown(page.text(warning))
    file = gr.File(
        label=page.text("Extension"), file_types=[".zip", ".whl"], type="filepath", height=140, elem_id="easel-install"
    )
    again = gr.Checkbox(label=page.text("Replace the one that is there"))
    button = gr.Button(page.text("Install"), variant="primary")
    told = gr.Markdown()

    def put(path: str | None, replace: bool, request: gr.Request) -> tuple[str, str]:
        _operator(page, request)
        if path is None:
            raise failed(page.text("Choose a file first."))
        try:
            manifest, _ = install(Path(path), page.app.service.data_dir / "extensions", replace=replace)
        except EaselError as error:
            raise failed(error) from None
        page.app.extensions.rescan()
        status = page.app.extensions.status(manifest.name)
        state = " · ".join(one for one in (page.text(status.state.value), status.reason) if one)
        return f"**{manifest.title} {manifest.version}**: {state}", listing(page)

    button.click(put, [file, again], [told, shown])


def _operator(page: Page, request: gr.Request) -> None:
    """Errors: gr.Error for whom it is not."""
    try:
        refuse_user_unless_operator(page.user(request))
    except Forbidden as error:
        raise failed(error) from None
