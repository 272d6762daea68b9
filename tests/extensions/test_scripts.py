from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from easel import BadRequest, GenerationRequest, Job, Script, UnknownName
from easel.extensions.script import OwnedScript, Scripts
from easel.values.request import ScriptCall


class Outpainting(BaseModel):
    info: str = ""
    pixels: int = Field(default=128, ge=8, le=256)
    directions: list[Literal["left", "right"]] = ["left"]


class Softly(BaseModel):
    enabled: bool = False


class Detail(BaseModel):
    amount: float


OUTPAINT = Script("Outpainting mk2", Outpainting, tabs=("img2img",))
SCRIPTS = Scripts(
    (
        OwnedScript("outpainting", OUTPAINT),
        OwnedScript("soft", Script("Soft", Softly, always_on=True)),
        OwnedScript("detail", Script("Detail", Detail)),
    )
)


def request(name: str = "", arguments: Any = (), **keys: Any) -> GenerationRequest:
    return GenerationRequest(kind="img2img", script=ScriptCall(name, arguments) if name else None, **keys)


def test_positional_arguments_in_the_order_of_the_fields_the_rest_by_default() -> None:
    bound = SCRIPTS.bind(request("OUTPAINTING MK2", ("Outpainting", 64)))
    assert bound[Outpainting] == Outpainting(info="Outpainting", pixels=64)
    assert bound[Softly] == Softly()
    assert Detail not in bound


def test_named_arguments() -> None:
    assert SCRIPTS.bind(request("outpainting mk2", {"pixels": 8}))[Outpainting] == Outpainting(pixels=8)
    with pytest.raises(UnknownName, match="did you mean 'pixels'"):
        SCRIPTS.bind(request("outpainting mk2", {"pixel": 8}))


def test_a_job_gives_them_to_whoever_asks_with_the_model() -> None:
    job = Job(id="1", request=request("outpainting mk2", (None,) * 0))
    job.scripts = SCRIPTS.bind(job.request)
    arguments = job.script_args(Outpainting)
    assert arguments is not None
    assert arguments.pixels == 128
    assert job.script_args(Detail) is None


def test_always_on_arguments() -> None:
    bound = SCRIPTS.bind(request(always_on=(ScriptCall("soft", (True,)),)))
    assert bound == {Softly: Softly(enabled=True)}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("outpainting mk2", ("x", "wide"), ("script_args[1]", "argument 'pixels'", "'wide'", "integer")),
        ("outpainting mk2", ("x", 4), ("script_args[1]", "argument 'pixels'", "got 4", "minimum 8", "maximum 256")),
        ("outpainting mk2", ("x", 8, ["up"]), ("script_args[2]", "argument 'directions'", "'up'")),
        ("outpainting mk2", ("x", 8, [], 1), ("script_args[3]", "takes 3 arguments", "info, pixels, directions")),
        ("detail", (), ("script_args[0]", "argument 'amount'", "Field required")),
    ],
)
def test_wrong_arguments_name_index_and_argument(name: str, arguments: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest) as error:
        SCRIPTS.bind(request(name, arguments))
    assert error.value.status == 422
    assert [word for word in words if word not in error.value.message] == []


def test_an_always_on_argument_is_named_with_its_script() -> None:
    with pytest.raises(BadRequest, match=r"alwayson_scripts\.SOFT\.args\[0\].*argument 'enabled'"):
        SCRIPTS.bind(request(always_on=(ScriptCall("SOFT", ("maybe",)),)))


def test_names_that_do_not_fit() -> None:
    with pytest.raises(UnknownName, match=r"script_name: .*got 'outpaint'.*did you mean 'Outpainting mk2'"):
        SCRIPTS.bind(request("outpaint"))
    with pytest.raises(UnknownName, match="alwayson_scripts: unknown name"):
        SCRIPTS.bind(request(always_on=(ScriptCall("nothing"),)))
    with pytest.raises(BadRequest, match="Cannot have a selectable script in the always on scripts params"):
        SCRIPTS.bind(request(always_on=(ScriptCall("detail"),)))
    with pytest.raises(UnknownName, match="script_name"):
        SCRIPTS.bind(request("soft"))
    with pytest.raises(UnknownName, match="script_name"):
        SCRIPTS.bind(GenerationRequest(kind="txt2img", script=ScriptCall("outpainting mk2")))
