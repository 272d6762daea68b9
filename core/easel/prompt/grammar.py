"""The grammar of prompt editing `[a:b:n]`, `[b:n]`, `[a::n]` and alternation `[a|b]`, and its reader.

Brackets that are none of these stay in the text, for `syntax.parse_attention`. What makes no whole is text as well: a
bracket without its partner, a group with too many colons, and every group around such a one. Only a `|` has no such
way out: outside an alternation it makes the whole prompt plain text.

Only this module imports lark, and only `schedule` imports this module, when a prompt has brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple, cast

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError
from lark.lark import PostLex

from easel.prompt.editing import Alternation, Edit, Line
from easel.prompt.syntax import DEEPEST

GRAMMAR = r"""
start: (TEXT | NUMBER | COLON | _group)*
field: (TEXT | _group)*
_group: round | square | edit | alternation

round:       "(" field (":" field)* ")"
square:      "[" field (":" field)* "]"
edit:        "[" field (":" field)* ":" NUMBER "]"
alternation: "[" field ("|" field)+ "]"

TEXT: /(?:[^\\()\[\]:|]|\\.)+/
NUMBER.2: /(?<=:)\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*(?=\])/
COLON: ":"
"""


def parse_editing(prompt: str) -> Line:
    """Read `prompt`; one that cannot be read is its own single piece."""
    try:
        return cast(Line, _parser().parse(prompt))
    except LarkError:
        return (prompt,)


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="basic", postlex=_LooseBrackets(), transformer=_Reader())


class _LooseBrackets(PostLex):
    """Makes text of every bracket that cannot be half of a pair, so that the grammar needs pairs only."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Give back the tokens of `stream`, loose brackets renamed."""
        tokens = list(stream)
        paired = _pairs([token.type for token in tokens])
        for place, token in enumerate(tokens):
            loose = token.type in ("LPAR", "RPAR", "LSQB", "RSQB") and place not in paired
            yield Token("TEXT", token.value) if loose else token


def _pairs(types: list[str]) -> set[int]:
    """The places of all brackets that have a partner with nothing loose between."""
    paired: set[int] = set()
    waiting: list[int] = []
    for place, type_ in enumerate(types):
        if type_ in ("LPAR", "LSQB"):
            waiting.append(place)
            if len(waiting) > DEEPEST:
                raise LarkError(f"more than {DEEPEST} open brackets")
        elif type_ in ("RPAR", "RSQB"):
            if waiting and types[waiting[-1]][1:] == type_[1:]:
                paired |= {waiting.pop(), place}
            else:
                waiting.clear()  # all that are open would have this loose one inside, so none of them can close
    return paired


class _Run(NamedTuple):
    """A stretch of the prompt; not `whole` when brackets in it turned out to be mere text."""

    line: Line
    whole: bool


class _Reader(Transformer[Token, Line]):
    """Makes a run of each rule's children as soon as the parser has seen them."""

    def start(self, parts: list[Token | _Run]) -> Line:
        """The whole prompt."""
        return _join(parts).line

    def field(self, parts: list[Token | _Run]) -> _Run:
        """What stands between brackets, colons and bars; may be empty."""
        return _join(parts)

    def round(self, fields: list[_Run]) -> _Run:
        """`(a)` or `(a:1.2)`: attention."""
        return _bracketed("(", fields, ")", whole=len(fields) <= 2)

    def square(self, fields: list[_Run]) -> _Run:
        """`[a]`: attention."""
        return _bracketed("[", fields, "]", whole=len(fields) == 1)

    def edit(self, parts: list[_Run | Token]) -> _Run:
        """`[b:n]` or `[a:b:n]`."""
        *fields, number = cast(list[_Run], parts)
        if len(fields) > 2 or not all(field.whole for field in fields):
            return _bracketed("[", [*fields, _Run((str(number),), True)], "]", whole=False)
        before = fields[0].line if len(fields) == 2 else ()
        return _Run((Edit(before, fields[-1].line, str(number)),), True)

    def alternation(self, fields: list[_Run]) -> _Run:
        """`[a|b]`."""
        if not all(field.whole for field in fields):
            raise LarkError("a | outside an alternation")
        return _Run((Alternation(tuple(field.line for field in fields)),), True)


def _bracketed(opening: str, fields: list[_Run], closing: str, *, whole: bool) -> _Run:
    parts: list[str | _Run] = [opening]
    for field in fields:
        parts += [field, ":"]
    run = _join([*parts[:-1], closing])
    return run._replace(whole=run.whole and whole)


def _join(parts: Iterable[str | _Run]) -> _Run:
    line: list[str | Edit | Alternation] = []
    whole = True
    for part in parts:
        if isinstance(part, _Run):
            whole = whole and part.whole
        for piece in part.line if isinstance(part, _Run) else (str(part),):
            if line and isinstance(piece, str) and isinstance(line[-1], str):
                line[-1] += piece
            else:
                line.append(piece)
    return _Run(tuple(line), whole)
