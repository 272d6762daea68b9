"""The file manager is there with --filebrowser, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FakeEngine
from easel.errors import Forbidden
from easel.settings import read_settings
from easel.worker.workplace import assemble, model_store


def service(data: Path, *flags: str) -> Easel:
    settings = read_settings(["--data-dir", str(data), "--in-process", *flags], {})
    return Easel(settings, build=lambda given: assemble(given, model_store(given), FakeEngine()))


def answers(app: Easel) -> list[int]:
    """What page and API answer."""
    with TestClient(create_api(app), raise_server_exceptions=False) as client:
        listed = [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/filebrowser")]
        codes = [client.get(f"/filebrowser/{path}").status_code for path in ("", "api/list", "page/style.css")]
    return [len(listed), *codes]


def test_with_the_flag_it_is_there(tmp_path: Path) -> None:
    assert answers(service(tmp_path, "--filebrowser")) == [16, 200, 200, 200]


def test_without_the_flag_there_is_nothing_and_nobody_can_switch_it_on(tmp_path: Path) -> None:
    app = service(tmp_path)
    assert answers(app) == [0, 404, 404, 404]
    with pytest.raises(Forbidden, match="switched off by the settings"):
        app.switch_extension("filebrowser", True)
