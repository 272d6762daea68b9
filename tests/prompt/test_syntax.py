"""Comments, networks, AND and attention."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from easel.errors import PromptSyntaxError
from easel.prompt.syntax import (
    DEEPEST,
    ExtraNetworkTag,
    extract_networks,
    parse_attention,
    remove_comments,
    split_and,
)

GOLDENS = Path(__file__).parents[1] / "goldens" / "parts"


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", golden("attention"), ids=lambda case: case["text"])
def test_attention_is_a1111s(case):
    if case["parsed"] is None:
        with pytest.raises(PromptSyntaxError):
            parse_attention(case["text"])
    else:
        assert [list(piece) for piece in parse_attention(case["text"])] == case["parsed"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a(BREAK)b", [("a", 1.0), ("", 1.1), ("BREAK", -1.1), ("", 1.1), ("b", 1.0)]),
        ("BREAK", [("", 1.0), ("BREAK", -1.0), ("", 1.0)]),
        ("a BREAK, b", [("a", 1.0), ("BREAK", -1.0), (", b", 1.0)]),
        ("a:1.2)", [("a:1.2)", 1.0)]),
        ("((a:1.5)b)", [("a", 1.5 * 1.1), ("b", 1.1)]),
        ("[(a]b)", [("a", 1.0), ("b", 1.1)]),  # brackets may cross
        ("(a :2 )", [("a ", 2.0)]),
        ("(a\\:2)", [("a", 2.0)]),
        ("(a:２)", [("a", 2.0)]),
        ("\\x \\\\(a)", [("x \\", 1.0), ("a", 1.1)]),
    ],
)
def test_attention(text, pieces):
    assert parse_attention(text)[0][1] == pytest.approx(pieces[0][1])
    assert [piece.text for piece in parse_attention(text)] == [piece[0] for piece in pieces]
    assert [piece.weight for piece in parse_attention(text)] == pytest.approx([piece[1] for piece in pieces])


def test_a_weight_that_is_no_number_is_named():
    with pytest.raises(PromptSyntaxError, match=r"'1\.2\.3' in ':1\.2\.3\)'"):
        parse_attention("a cat (sits:1.2.3)")


def test_brackets_beyond_sense_are_refused():
    assert parse_attention("(" * DEEPEST + "a")[0].text == "a"
    with pytest.raises(PromptSyntaxError, match="open at once"):
        parse_attention("(" * (DEEPEST + 1))


def test_attention_loses_no_text():
    draw = random.Random(1)
    for _ in range(300):
        text = "".join(draw.choice(["a", " ", ",", "b c", "(", ")", "[", "]", ":", ":1.2)"]) for _ in range(12))
        kept = "".join(piece.text for piece in parse_attention(text))
        assert "".join(kept.split("(")).count("a") == text.count("a")
        assert all(mark in text for mark in kept)


@pytest.mark.parametrize("case", golden("and_split"), ids=lambda case: case["prompt"])
def test_and_is_a1111s(case):
    parts = split_and(case["prompt"])
    texts = list(dict.fromkeys(part.text for part in parts))
    assert texts == case["texts"]
    assert [[texts.index(part.text), part.weight] for part in parts] == case["indexes"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a:1. AND b:+.5", [("a", 1.0), (" b", 0.5)]),
        ("a:1:2", [("a:1", 2.0)]),
        ("a:1e3", [("a:1e3", 1.0)]),
        ("a:-", [("a:-", 1.0)]),
        ("AND_x", [("AND_x", 1.0)]),
        ("a,AND,b", [("a,", 1.0), (",b", 1.0)]),
        (":2", [("", 2.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_and(text, parts):
    assert list(split_and(text)) == parts


@pytest.mark.parametrize("case", golden("extra_networks"), ids=lambda case: case["prompt"])
def test_networks_are_a1111s(case):
    text, tags = extract_networks(case["prompt"])
    assert text == case["text"]
    found: dict[str, list[dict[str, Any]]] = {}
    for tag in tags:
        entry = {"items": list(tag.items), "positional": list(tag.positional), "named": dict(tag.named)}
        found.setdefault(tag.name, []).append(entry)
    assert found == case["nets"]


def test_a_network_tag_is_a_value():
    tag = ExtraNetworkTag("lora", ("ink", "te=0.5", "a=b=c", "te=0.7"))
    assert str(tag) == "<lora:ink:te=0.5:a=b=c:te=0.7>"
    assert extract_networks(str(tag)) == ("", (tag,))
    assert tag.positional == ("ink", "a=b=c")
    assert tag.named == {"te": "0.7"}
    assert len({tag, ExtraNetworkTag("lora", tag.items)}) == 1


def test_only_some_networks_are_cut():
    text, tags = extract_networks("a <lora:x> <foo:1> <hypernet:h>", ("lora", "hypernet"))
    assert text == "a  <foo:1> "
    assert [tag.name for tag in tags] == ["lora", "hypernet"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a cat # hidden\nb", "a cat \nb"),
        ("a\n# gone\nb", "a\nb"),
        ("# gone\nb", "\nb"),
        ("a\n# gone", "a\n"),
        ("a\n#b\n#c\nd", "a\n\nd"),
        ("a #x\n#b\nc", "a \nc"),
        ("a # b", "a \n"),
        ("a", "a"),
    ],
)
def test_comments(text, left):
    assert remove_comments(text) == left


def test_tags_that_never_end_are_read_in_no_time() -> None:
    begin = time.process_time()
    assert extract_networks("<a:" * 20000) == ("<a:" * 20000, ())
    assert extract_networks("<a:b>" + "<a:" * 20000)[1] == (ExtraNetworkTag("a", ("b",)),)
    assert time.process_time() - begin < 1
