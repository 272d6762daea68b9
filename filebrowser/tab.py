"""The tab of the page: the file manager's own page in a frame, which the browser loads when the tab is opened."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

_STYLE = "width:100%;height:calc(100vh - 190px);min-height:480px;border:0;border-radius:8px;display:block"


def build(page: Any) -> None:
    """Make the frame."""
    title = escape(page.text("Files"))
    frame = f'<iframe src="filebrowser/" title="{title}" loading="lazy" style="{_STYLE}"></iframe>'
    gr.HTML(frame, padding=False, elem_id="filebrowser_frame")
