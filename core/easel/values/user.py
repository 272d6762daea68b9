"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A user of the service; the empty name is the anonymous user of a service without users."""

    name: str = ""
    admin: bool = False
