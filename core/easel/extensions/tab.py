"""Tabs: an extension's place on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the page. `build(page)` is called for every page inside its gradio `Blocks`: what it makes is the tab.

    gradio is imported there, not before: a service without a page has none. A lower `order` stands further left.
    Of `page`: `text("Generate")` is a text in the page's language (an extension brings its own in
    `localizations/<language>.json`); `user(request)` whose event it is, for a listener that has a parameter
    `request: gradio.Request`; `send(button, to="txt2img", fill=["prompt"], inputs=[box])` lets a click put texts into
    another tab and open it (`to`: txt2img, img2img; `fill`: prompt, negative_prompt).
    """

    title: str
    build: Callable[[Any], object]
    order: int = 100
