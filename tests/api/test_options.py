"""`/sdapi/v1/options`: 312 names and ControlNet's 18, typed, kept, and out of clients' reach where they must be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel.errors import SettingsError
from easel.options import OptionsStore, rules
from easel.values.options import Options

from .conftest import Serve


def test_names_and_defaults_are_a1111s(serve: Serve, recorded: Callable[[str], Any]) -> None:
    service, golden = serve(), recorded("api/get_options")["body"]
    options = service.get("options")
    others = [name for name in options if name.startswith("control")]
    assert [name for name in options if name not in others] == list(golden)
    assert (len(golden), len(others)) == (312, 18)
    assert str(service.data) not in str(options)
    ours = {name for name, value in options.items() if name in golden and value != golden[name]}
    assert ours == {name for name in golden if name.startswith("outdir_") and golden[name]} | {
        "sd_checkpoint_hash", "profiling_explanation", "sd_vae_explanation", "infotext_explanation", "settings_in_ui",
    }  # fmt: skip


def test_the_request_options_have_the_same_defaults(tmp_path: Path) -> None:
    assert OptionsStore(tmp_path / "state").resolve({}) == Options()


def test_the_whole_object_can_be_posted_back(serve: Serve) -> None:
    service = serve()
    options = service.get("options")
    assert service.post("options", options) is None
    assert service.get("options") == options
    assert service.post("options", options | {"CLIP_stop_at_last_layers": 2}) is None
    assert service.get("options")["CLIP_stop_at_last_layers"] == 2


def test_values_are_typed_and_survive_a_restart(serve: Serve) -> None:
    service = serve()
    service.post("options", {"samples_save": "false", "jpeg_quality": "90", "quicksettings_list": ["sd_vae"]})
    again = serve().get("options")
    assert (again["samples_save"], again["jpeg_quality"], again["quicksettings_list"]) == (False, 90.0, ["sd_vae"])
    saved = json.loads((service.data / ".easel" / "options.json").read_text())
    assert saved == {"samples_save": False, "jpeg_quality": 90.0, "quicksettings_list": ["sd_vae"]}
    service.post("options", {"samples_save": None})
    assert service.get("options")["samples_save"] is True


@pytest.mark.parametrize(("body", "status", "says"), [
    ({"no_such_key": 1}, 422, "no_such_key: unknown name"),
    ({"sample_format": "png"}, 422, "did you mean 'samples_format'"),
    ({"CLIP_stop_at_last_layers": "abc"}, 422, "wrong type (got 'abc'; allowed: 1 to 12)"),
    ({"CLIP_stop_at_last_layers": 99}, 422, "not allowed (got 99"),
    ({"jpeg_quality": True}, 422, "wrong type (got True"), ({"jpeg_quality": "inf"}, 422, "inf"),
    ({"samples_save": 2}, 422, "true or false"), ({"samples_format": ["png"]}, 422, "'png', 'jpg'"),
    ({"img2img_background_color": "red"}, 422, "'#ffffff'"), ({"quicksettings_list": "x"}, 422, "a list"),
    ({"sd_model_checkpoint": "zzz"}, 422, "sd_model_checkpoint: unknown name (got 'zzz'"),
    ({"sd_vae": "zzz"}, 422, "sd_vae: unknown name (got 'zzz'"),
    ({"outdir_txt2img_samples": "/tmp/q"}, 403, "only be changed by the operator"),
    ({"api_enable_requests": False}, 403, "only be changed by the operator"),
    ({"directories_filename_pattern": "../../x"}, 403, "only be changed by the operator"),
])  # fmt: skip
def test_what_cannot_be_set(serve: Serve, body: dict[str, Any], status: int, says: str) -> None:
    service = serve()
    before = service.get("options")
    answered, detail = service.refused("options", {"samples_save": False} | body)
    assert (answered, says in detail) == (status, True), detail
    assert service.get("options") == before  # all or nothing


def test_the_checkpoint_is_a_title_of_the_list(serve: Serve) -> None:
    service = serve(models=("tiny", "tiny2"))
    titles = [row["title"] for row in service.get("sd-models")]
    assert service.get("options")["sd_model_checkpoint"] == titles[0]
    service.post("options", {"sd_model_checkpoint": "tiny2"})
    assert service.get("options")["sd_model_checkpoint"] == titles[1]
    assert service.info("txt2img", {"prompt": "a", "steps": 1})["sd_model_name"] == "tiny2"


def test_a_checkpoint_whose_file_is_gone(serve: Serve) -> None:
    service = serve(models=("tiny", "tiny2"))
    service.post("options", {"sd_model_checkpoint": "tiny2"})
    (service.data / "models/Stable-diffusion/tiny2.safetensors").unlink()
    service.post("refresh-checkpoints", None)
    assert service.get("options")["sd_model_checkpoint"] == "tiny.safetensors"
    info = service.info("txt2img", {"prompt": "a", "steps": 1})
    assert info["sd_model_name"] == "tiny"
    assert "is gone; tiny.safetensors was used instead" in info["easel"]["warnings"][0]


def test_options_can_be_frozen(serve: Serve) -> None:
    assert serve("--freeze-settings").refused("options", {"samples_save": False})[0] == 403
    service = serve("--freeze-specific-settings", "samples_save, jpeg_quality")
    assert service.refused("options", {"samples_save": False})[0] == 403
    service.post("options", {"emphasis": "None"})


def test_a_broken_options_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"options\.json cannot be read: it holds no object"):
        OptionsStore(tmp_path)


def test_what_an_options_file_says_wrongly_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "options.json").write_text('{"jpeg_quality": "x", "gone": 1, "emphasis": "None"}')
    store = OptionsStore(tmp_path)
    assert (store.get("jpeg_quality"), store.get("emphasis")) == (80.0, "None")
    assert "jpeg_quality" in caplog.text
    assert "gone" in caplog.text


def test_every_rule_allows_its_own_default() -> None:
    for name, rule in rules().items():
        if rule.default is not None:
            assert rule.allows(rule.read(rule.default)), name
