"""A script's form: labels, defaults, limits and choices come from its pydantic model."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import BaseModel, Field

from easel.extensions.form import FormField, form


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


class Unit(BaseModel):
    weight: float = 1.0


class Everything(BaseModel):
    needed: int = Field(title="Pixels", ge=8, le=256, description="at least 8")
    on: bool = True
    amount: float = Field(0.5, gt=0, json_schema_extra={"step": 0.05})
    eight: int = Field(8, multiple_of=8)
    kind: Literal["soft", "hard"] = "soft"
    side: Side = Side.RIGHT
    sides: list[Literal["left", "right"]] = Field(default_factory=lambda: ["left"])
    maybe: int | None = Field(None, ge=1)
    units: list[Unit] = [Unit()]
    text: str = Field("", json_schema_extra={"choices": ["a", "b"]})


def test_every_kind_of_argument() -> None:
    found = {one.name: one for one in form(Everything)}
    assert list(found) == list(Everything.model_fields)
    assert found["needed"] == FormField(
        name="needed", label="Pixels", control="integer", value=None, required=True, minimum=8, maximum=256,
        help="at least 8",
    )  # fmt: skip
    assert {name: one.control for name, one in found.items() if name != "needed"} == {
        "on": "checkbox", "amount": "number", "eight": "integer", "kind": "choice", "side": "choice",
        "sides": "choices", "maybe": "integer", "units": "json", "text": "choice",
    }  # fmt: skip
    assert (found["amount"].minimum, found["amount"].step, found["eight"].step) == (0, 0.05, 8)
    assert found["side"].choices == found["sides"].choices == ("left", "right")
    assert (found["side"].value, found["sides"].value, found["units"].value) == ("right", ["left"], [{"weight": 1.0}])
    assert (found["maybe"].minimum, found["maybe"].value, found["maybe"].required) == (1, None, False)
    assert found["text"].choices == ("a", "b")
