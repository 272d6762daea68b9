"""OpenAPI tells the truth: whatever it allows to be sent is answered as it says, and never with a 500."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import png, start
from .test_clients import listening

NAMES = (
    "sampler_name", "sampler_index", "scheduler", "styles", "refiner_checkpoint", "script_name", "alwayson_scripts",
    "override_settings", "infotext", "enable_hr", "mask",
)  # fmt: skip
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[str]:
    """A server whose limits keep what is made up small."""
    small = ("--max-pixels", "16384", "--max-batch", "4", "--max-steps", "20", "--max-input-pixels", "65536")
    with ExitStack() as stack:
        service = start(stack, tmp_path_factory.mktemp("openapi"), tiny_data, *small)
        yield stack.enter_context(listening(service))


@pytest.mark.parametrize("examples", [3, pytest.param(1000, marks=pytest.mark.long)])
def test_every_route_answers_as_described(url: str, examples: int) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 40
    failures: dict[str, Exception] = {}
    for operation in operations:
        try:
            _try_out(operation, examples)
        except Exception as error:  # noqa: BLE001 - every route is tried, whatever the others do
            failures[operation.label] = error
    assert not failures, "\n\n".join(f"{label}: {error}" for label, error in failures.items())


def _try_out(operation: Any, examples: int) -> None:
    @given(case=operation.as_strategy(), plain=booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def calls(case: Any, plain: bool) -> None:
        if plain and isinstance(case.body, dict):  # without names that do not exist, so that some are answered 200
            case.body = {name: value for name, value in case.body.items() if name not in NAMES}
            case.body |= {"steps": 2, "width": 64, "height": 64} if "2img" in operation.label else {}
            case.body |= {"init_images": [png()]} if "img2img" in operation.label else {}
        answer = case.call(timeout=60)
        expected = CHECKS if answer.status_code != 501 else CHECKS[1:]  # said on purpose: not done here
        case.validate_response(answer, checks=expected)

    calls()
