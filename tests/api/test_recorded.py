"""Every answer that was recorded of A1111 1.10.1, asked of this service: the same status and the same shape.

Where ours is another on purpose, `docs/conformance.md` says so: its table is what this test lets pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .conftest import Service, start

RECORDED = Path(__file__).parents[1] / "goldens" / "recorded"
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
DELIBERATE = set(re.findall(r"`((?:api|page)/\w+)`", PAGE.read_text()))
ELSEWHERE = ("auth_", "live_", "raw_docs", "raw_openapi_json")  # other tests ask these


def names() -> Iterator[str]:
    for file in sorted(RECORDED.glob("*/*.json")):
        if file.stem.startswith(ELSEWHERE):
            continue
        golden = json.loads(file.read_text())
        whole = not re.search(r"<base64|<\d+ chars>", json.dumps(golden["request"]) if "request" in golden else "")
        if "request" in golden and whole:  # pictures were cut from some requests
            yield f"{file.parent.name}/{file.stem}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Service]:
    """A service with all that the recorded one had: two checkpoints, a LoRA, an embedding, a VAE, styles."""
    data = tmp_path_factory.mktemp("recorded")
    for name in ("embeddings", "styles.csv"):
        (data / name).symlink_to(tiny_data / name)
    (data / "models").mkdir()
    for name in ("Lora", "VAE"):
        (data / "models" / name).symlink_to(tiny_data / "models" / name)
    with ExitStack() as stack:
        yield start(stack, data, tiny_data, models=("tiny", "tiny2"))


def shape(value: Any, depth: int = 0) -> Any:
    """Keys and kinds, two levels deep; a list is as its first item."""
    match value:
        case dict() if depth < 2:
            return {key: shape(one, depth + 1) for key, one in value.items()}
        case list() if depth < 2:
            return [shape(one, depth + 1) for one in value[:1]]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


@pytest.mark.parametrize("name", list(names()))
def test_the_same_status_and_shape(service: Service, name: str) -> None:
    golden = json.loads((RECORDED / f"{name}.json").read_text())
    asked = golden["request"]
    data = asked.get("data")
    body: dict[str, Any] = {"content": data} if isinstance(data, str) else {"data": data} if data else {}
    if not body and asked["json"] is not None:
        body = {"json": asked["json"]}
    answer = service.client.request(
        asked["method"], asked["path"], headers=asked.get("headers") or {}, follow_redirects=False, **body
    )
    theirs, is_text = golden["body"], "__text__" in str(golden["body"])
    ours = theirs if is_text else answer.json() if "json" in answer.headers["content-type"] else answer.text
    same = answer.status_code == golden["status"] and _within(shape(theirs), shape(ours))
    if name in DELIBERATE:
        assert not same, f"{name} is as recorded: docs/conformance.md need not list it"
        assert answer.status_code < 500 or answer.status_code == 501
    else:
        assert same, f"{answer.status_code} instead of {golden['status']}: {shape(ours)} instead of {shape(theirs)}"


def _within(theirs: Any, ours: Any) -> bool:
    """Is everything of their shape in ours? Keys may be added, empty lists hold nothing to compare."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(key in ours and _within(one, ours[key]) for key, one in theirs.items())
    if isinstance(theirs, list) and isinstance(ours, list):
        return not theirs or not ours or _within(theirs[0], ours[0])
    return bool(theirs == ours or "NoneType" in (theirs, ours))
