"""The web page: gradio lives here and in extensions' tabs, and is imported when the first page is built."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import TYPE_CHECKING

from easel.ui.mount import PageMount

if TYPE_CHECKING:
    from gradio.routes import App

    from easel.app import Easel


def page_of(app: Easel) -> PageMount:
    """The page of a service. Importing gradio takes seconds, so that happens with the first build."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would ask servers elsewhere; read when it is imported
    os.environ["GRADIO_TEMP_DIR"] = str(app.page_files)  # uploads and what is shown

    def make() -> App:
        warnings.filterwarnings("ignore", "Couldn't find ffmpeg")  # for sounds, which the page has none of
        from easel.ui.page import make_page

        async def in_a_loop() -> App:  # gradio makes loops and leaves them open where none runs
            return make_page(app, mount.reload_from_thread)

        return asyncio.run(in_a_loop())

    mount = PageMount(
        make, apart=app.accounts is not None, shows=lambda: app.extensions.hooks, files=app.page_files, room=app.room
    )
    return mount
