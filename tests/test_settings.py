"""Launch options: spelling, order of sources, errors; every flag A1111 has."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from easel.errors import SettingsError
from easel.settings import Settings, flags_help, read_settings
from easel.settings_flags import LaunchFlags

RECORDED = Path(__file__).parent / "goldens" / "recorded" / "api" / "get_cmd_flags.json"
SEED_FLAGS = """--listen --port 8000 --skip-version-check --no-hashing --no-download-sd-model --skip-prepare-environment
    --api --api-log --time-log --nowebui --filebrowser --data-dir /mnt/data --blade --xformers
    --always-hide-tabs Extensions Train --min-ram-reserved 40 --sd-dynamic-cache --lora-dir /mnt/lora --vae-dir /mnt/vae
    --gfpgan-dir /mnt/g --embeddings-dir /mnt/e --hypernetwork-dir /mnt/h --root-extensions"""


def test_flags_are_a1111s_in_order() -> None:
    recorded = json.loads(RECORDED.read_text())["body"]
    assert list(read_settings([], {}).cmd_flags()) == list(recorded)
    assert [field.name for field in fields(LaunchFlags)] == list(recorded)


@pytest.mark.parametrize("words", [["--data-dir", "/mnt/a b"], ["--data-dir=/mnt/a b"], ["--data_dir=/mnt/a b"]])
def test_both_spellings_of_a_value(words: list[str]) -> None:
    settings = read_settings(words, {})
    assert settings.data_dir == Path("/mnt/a b")
    assert settings.state_dir == Path("/mnt/a b/.easel")
    assert settings.cmd_flags()["lora_dir"] == "models/Lora"


def test_a_relative_path_is_from_where_the_command_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(["--data-dir", "data-oss"], {}).data_dir == tmp_path / "data-oss"


def test_the_seeds_own_flags() -> None:
    settings = read_settings(SEED_FLAGS.split(), {})
    assert (settings.host, settings.bind_port, settings.no_hashing) == ("0.0.0.0", 8000, True)
    assert (settings.min_ram_reserved, settings.root_extensions) == (40.0, True)
    assert settings.always_hide_tabs == ("Extensions", "Train")


def test_sources_win_in_order() -> None:
    environ = {"EASEL_PORT": "1", "EASEL_LISTEN": "true", "COMMANDLINE_ARGS": "--port 2 --token 'a b' --api-log"}
    settings = read_settings(["--port=3"], environ)
    assert (settings.port, settings.token, settings.listen, settings.api_log) == (3, "a b", True, True)
    assert read_settings([], environ).port == 2
    assert read_settings([], {"EASEL_PORT": "1"}).port == 1


def test_defaults_bind_this_machine_only() -> None:
    settings = read_settings([], {})
    assert (settings.host, settings.bind_port, settings.api, settings.filebrowser) == ("127.0.0.1", 7860, True, False)
    assert read_settings(["--nowebui"], {}).bind_port == 7861
    assert not settings.remarks()


@pytest.mark.parametrize(("words", "value"), [
    ([], False), (["--root-extensions"], True), (["--root-extensions", "/srv/x"], "/srv/x"),
    (["--root-extensions", "--listen"], True), (["--root-extensions=/srv/x"], "/srv/x"),
])  # fmt: skip
def test_root_extensions_takes_an_optional_folder(words: list[str], value: object) -> None:
    assert read_settings(words, {}).root_extensions == value


def test_switches_can_be_turned_off() -> None:
    settings = read_settings(["--no-api", "--no-filebrowser"], {})
    assert (settings.api, settings.filebrowser) == (False, False)
    assert read_settings(["--no-half"], {}).no_half


def test_lists_take_words_and_repeats() -> None:
    settings = read_settings(["--styles-file", "a.csv", "b*.csv", "--listen", "--styles-file=c.csv"], {})
    assert settings.styles_file == ("a.csv", "b*.csv", "c.csv")


@pytest.mark.parametrize(("line", "says"), [
    ("--prot 80", "unknown flag '--prot'; did you mean --port?"),
    ("--port", "--port needs a value"),
    ("--port x", "--port: 'x' is not a whole number"),
    ("--port 70000", "--port: 70000 is not a port"),
    ("--precision fp8", "--precision: 'fp8' is not one of full, half, autocast"),
    ("--listen maybe", "--listen: 'maybe' is neither true nor false"),
    ("--data-dir a b", "unexpected 'b' after --data-dir"),
    ("--share", "--share is not available yet"),
    ("--gradio-auth u", "--gradio-auth: expected user:password"),
    ("--gradio-auth u:p --no-auth", "--no-auth contradicts --gradio-auth"),
    ("--theme pink", "--theme: 'pink' is not one of light, dark"),
    ("--freeze-settings-in-sections x", "--freeze-settings-in-sections is not available yet"),
    ("--edition clusters", "--edition: 'clusters' is not one of standard, api, cluster, serverless"),
    ("--edition cluster --token x", "--token contradicts --edition cluster"),
    ("--nowebui --no-api", "leave nothing to serve"),
    ("--no-auth --token x", "--no-auth contradicts --token"),
    ("--no-half --precision half", "--no-half contradicts"),
    ("--tls-keyfile k", "go together"),
    ("--api-auth user", "--api-auth: expected user:password"),
    ("--api-auth user:", "--api-auth: expected user:password"),
    ("--max-jobs-in-flight 0", "--max-jobs-in-flight: 0 is not above 0"),
    ("--job-deadline nan", "--job-deadline: nan is not above 0"),
    ("--cors-allow-origins-regex (", "--cors-allow-origins-regex:"),
])  # fmt: skip
def test_wrong_flags_are_named(line: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(line.split(), {})
    assert says in str(caught.value)


def test_a_broken_commandline_args_is_named() -> None:
    with pytest.raises(SettingsError, match="COMMANDLINE_ARGS"):
        read_settings([], {"COMMANDLINE_ARGS": "--token 'x"})


def test_every_recorded_flag_is_taken_or_said_to_come_later() -> None:
    """Each flag with a value: accepted, or refused with "not available yet"; nothing in between."""
    for option in fields(Settings):
        if option.name in ("given", "edition"):
            continue
        value = {"bool": "true", "bool | None": "true"}.get(str(option.type), (*option.metadata["choices"], "1")[0])
        flag = "-f" if option.name == "f" else "--" + option.name.replace("_", "-")
        together = {"tls_keyfile": ["--tls-certfile", "c"], "tls_certfile": ["--tls-keyfile", "k"]}
        value = {"api_auth": "u:p", "gradio_auth": "u:p"}.get(option.name, value)
        words = [f"{flag}={value}", *together.get(option.name, [])]
        if option.metadata["status"] == "later":
            with pytest.raises(SettingsError, match="not available yet"):
                read_settings(words, {})
        else:
            settings = read_settings(words, {})
            assert option.name in settings.given
            assert bool(settings.remarks()) == (option.metadata["status"] == "no effect")


def test_help_names_every_flag() -> None:
    text = flags_help()
    assert all("--" + field.name.replace("_", "-") in text for field in fields(Settings) if len(field.name) > 5)


def test_passwords_stay_out_of_what_is_shown() -> None:
    settings = read_settings(["--api-auth", "user:geheim", "--token", "secret-token"], {})
    assert "geheim" not in json.dumps(settings.cmd_flags())
    assert "geheim" not in repr(settings)
    assert "secret-token" not in repr(settings)


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys, easel.settings; print(*[m for m in ('pydantic', 'fastapi', 'torch', 'numpy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
