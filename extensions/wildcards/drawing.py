"""Drawing texts from a template with the dynamicprompts library: the same seed draws the same text.

What a template may cost is bounded: wildcards can name wildcards, and each can double what the one before makes.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import warnings
from collections.abc import Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.values import WildcardValues
from pyparsing import ParseException

from easel import BadRequest

from .template import hide, is_dynamic, show

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

LONGEST = 4_000  # characters of a template; reading them takes a second at worst
MOST_DRAWS = 2_000  # choices, wildcards and pieces of text that one text may be made of

logging.getLogger("dynamicprompts").setLevel(logging.ERROR)  # an unknown wildcard is told to who asked, not logged
_parsing = threading.Lock()  # the library keeps one parser, which learns while it reads


class _TooMuch(Exception):
    """A text would be made of too many draws."""


class _Values(WildcardManager):
    """The wildcards of a library; what is asked for and not there is `missing`."""

    def __init__(self, wildcards: Mapping[str, list[str]]) -> None:
        super().__init__(root_map={"": [{name: [hide(value) for value in found] for name, found in wildcards.items()}]})
        self.missing: dict[str, None] = {}

    def get_values(self, wildcard: str) -> WildcardValues:
        name = show(wildcard)
        found = WildcardValues(()) if ".." in name else super().get_values(name)
        if not found:
            self.missing[name] = None
        return found


@dataclasses.dataclass(frozen=True)
class _Counted(SamplingContext):
    """A context that stops when a text takes too many draws."""

    draws: list[None] = dataclasses.field(default_factory=list)

    def generator_from_command(self, command: Command) -> Any:
        self.draws.append(None)
        if len(self.draws) > MOST_DRAWS:
            raise _TooMuch
        return super().generator_from_command(command)


class Drawing:
    """Texts drawn for one request; `missing` are the wildcards that were asked for and not there."""

    def __init__(self, wildcards: Mapping[str, list[str]]) -> None:
        self._values = _Values(wildcards)
        self._commands: dict[str, Command] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Names without a value, in the order they came up."""
        return tuple(self._values.missing)

    def texts(self, templates: tuple[str, ...], seeds: Iterable[int], field: str) -> tuple[str, ...]:
        """A text for each template, drawn with its seed; none without templates. Errors: BadRequest naming `field`."""
        drawn = tuple(self._text(one, seed, field) for one, seed in zip(templates, seeds, strict=False))
        return templates if drawn == templates else drawn

    def _text(self, template: str, seed: int, field: str) -> str:
        if not is_dynamic(template):
            return template
        if len(template) > LONGEST:
            raise BadRequest("too long for a dynamic prompt", field=field, value=len(template), allowed=f"{LONGEST}")
        context = _Counted(
            default_sampling_method=SamplingMethod.RANDOM,
            wildcard_manager=self._values,
            rand=Random(seed),
        )
        try:
            with _parsing, warnings.catch_warnings(action="ignore"):  # it warns of {!all|of|them}, which it draws from
                if template not in self._commands:
                    self._commands[template] = parse(hide(template))
                drawn = next(iter(context.sample_prompts(self._commands[template], 1)), None)
        except (_TooMuch, RecursionError):
            reason = f"the dynamic prompt is too large, or refers to itself (it takes more than {MOST_DRAWS} draws)"
            raise BadRequest(reason, field=field, value=template[:100]) from None
        except (ParseException, ValueError, KeyError) as error:
            said = str(error.args[0] if isinstance(error, KeyError) else error)
            raise BadRequest(
                f"the dynamic prompt cannot be read: {show(said)}", field=field, value=template[:100]
            ) from None
        return show(drawn.text) if drawn is not None else ""
