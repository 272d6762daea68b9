"""`easel bench`: this machine's figures, each beside an honest opponent measured in the same run."""

from __future__ import annotations

from easel.bench.suite import main

__all__ = ["main"]
