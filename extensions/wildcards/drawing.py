"""Drawing texts from a template with the dynamicprompts library: the same seed draws the same text.

What a template may cost is bounded: wildcards can name wildcards, and each can double what the one before makes.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.item import WildcardItem
from dynamicprompts.wildcards.values import WildcardValues
from pyparsing import ParseException

from easel import BadRequest

from .template import hide, is_dynamic, show

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

LONGEST = 4_000  # characters of a template; reading them takes a second at worst
MOST_DRAWS = 2_000  # choices, wildcards and pieces of text that one text may be made of …
VALUES_A_DRAW = 10  # … where as many values of a wildcard count as one
DRAWN_FROM = 100  # values of a wildcard

_WEIGHT = re.compile(r"(\d+(?:\.\d*)?)::\s*")
Wildcards = Mapping[str, list[str]]  # values by name
logging.getLogger("dynamicprompts").setLevel(logging.ERROR)  # an unknown wildcard is told to who asked, not logged
_parsing = threading.Lock()  # the library keeps one parser, which learns while it reads


class _TooMuch(Exception):
    """A text would be made of too many draws."""


@dataclasses.dataclass(slots=True)
class _Budget:
    """What is left of the draws of one text."""

    left: int = MOST_DRAWS

    def spend(self, draws: int) -> None:
        self.left -= draws
        if self.left < 0:
            raise _TooMuch


class _Values(WildcardManager):
    """The wildcards for one text.

    Of a long list a part is drawn first, and the library draws from that: it would read every line otherwise.
    """

    def __init__(self, look_up: Callable[[str], list[str]], budget: _Budget, rand: Random) -> None:
        super().__init__()
        self._look_up, self._budget, self._rand = look_up, budget, rand

    def get_values(self, wildcard: str) -> WildcardValues:
        values = self._look_up(show(wildcard).strip("/"))
        if len(values) > DRAWN_FROM:
            values = self._rand.sample(values, DRAWN_FROM)
        self._budget.spend(1 + len(values) // VALUES_A_DRAW)
        return WildcardValues.from_items(_weighted(value) for value in values)


@dataclasses.dataclass(frozen=True)
class _Counted(SamplingContext):
    """A context that stops when a text takes too many draws."""

    budget: _Budget = dataclasses.field(default_factory=_Budget)

    def generator_from_command(self, command: Command) -> Any:
        self.budget.spend(1)
        return super().generator_from_command(command)


class Drawing:
    """Texts drawn for one request."""

    def __init__(self, wildcards: Wildcards) -> None:
        self._wildcards = wildcards
        self._commands: dict[str, Command] = {}
        self._found: dict[str, list[str]] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The wildcards that were asked for and are not there, as they came up."""
        return tuple(name for name, values in self._found.items() if not values)

    def texts(self, templates: tuple[str, ...], seeds: Iterable[int], field: str) -> tuple[str, ...]:
        """A text for each template, drawn with its seed; none without templates. Errors: BadRequest naming `field`."""
        drawn = tuple(self._text(one, seed, field) for one, seed in zip(templates, seeds, strict=False))
        return templates if drawn == templates else drawn

    def _look_up(self, name: str) -> list[str]:
        """The values of all wildcards that a name means; one that means none is looked for in folders too."""
        if name not in self._found:
            lists = fnmatch.filter(self._wildcards, name) or fnmatch.filter(self._wildcards, f"*/{name}")
            self._found[name] = list(dict.fromkeys(value for one in sorted(lists) for value in self._wildcards[one]))
        return self._found[name]

    def _text(self, template: str, seed: int, field: str) -> str:
        if not is_dynamic(template):
            return template
        if len(template) > LONGEST:
            raise BadRequest("too long for a dynamic prompt", field=field, value=len(template), allowed=f"{LONGEST}")
        rand, budget = Random(seed), _Budget()
        context = _Counted(
            default_sampling_method=SamplingMethod.RANDOM,
            wildcard_manager=_Values(self._look_up, budget, rand),
            rand=rand,
            budget=budget,
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


def _weighted(value: str) -> str | WildcardItem:
    """A value, of which `0.5::` may be the weight, for the library."""
    weight = _WEIGHT.match(value)
    if weight is None:
        return hide(value)
    return WildcardItem(content=hide(value[weight.end() :]), weight=float(weight[1]))
