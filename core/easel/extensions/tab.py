"""Tabs: an extension's place on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the page. `build()` is called for every page inside its gradio `Blocks`: what it makes is the tab.

    gradio is imported there, not before: a service without a page has none. A lower `order` stands further left.
    """

    title: str
    build: Callable[[], object]
    order: int = 100
