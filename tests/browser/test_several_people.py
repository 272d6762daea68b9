"""Several people on one service: each sees what is theirs; what counts for everybody is the operators'."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import expect

from .conftest import WAIT, Opens, Service, serving, tab

pytestmark = pytest.mark.long
MANIFEST = 'name = "{0}"\ntitle = "{1}"\nversion = "1"\nsummary = "{2}"\nentry = "{1}"\neasel = ">=1,<2"\n'
NAMES = """
from easel import Extension, User, hookimpl


class Names(Extension):
    @hookimpl
    def authenticate(self, request):
        name = request.headers.get("x-name", "")
        return User(name, admin=name == "root") if name else None
"""
FAULTY = """
from easel import Extension, hookimpl


class Faulty(Extension):
    @hookimpl
    def rewrite_prompt(self, prompt, job):
        raise RuntimeError("no good")
"""


def put(folder: Path, title: str, summary: str, code: str) -> None:
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(MANIFEST.format(title.lower(), title, summary))
    (folder / "__init__.py").write_text(code)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that knows people by a header, and hides a tab."""
    data = tmp_path_factory.mktemp("people") / "data"
    put(data / "extensions" / "names", "Names", "who is who", NAMES)
    with serving(data, "--always-hide-tabs", "Usage", "--quarantine-failures", "2") as running:
        yield running


def test_everybody_sees_their_own_jobs(shared: Service, opened: Opens) -> None:
    pages = {name: opened(shared.url, extra_http_headers={"x-name": name}) for name in ("ann", "bob")}
    for name in pages:
        body = {"prompt": f"a ball for {name}", "steps": 2}
        assert httpx.post(f"{shared.url}sdapi/v1/txt2img", json=body, headers={"x-name": name}, timeout=120).is_success
    for name, page in pages.items():
        tab(page, "Jobs")
        expect(page.locator("#easel-jobs article")).to_have_count(1, timeout=WAIT)
        expect(page.locator("#easel-jobs")).to_contain_text(f"a ball for {name}")
        expect(page.get_by_role("tab", name="Usage", exact=True)).to_have_count(0)


def test_only_operators_change_what_counts_for_everybody(shared: Service, opened: Opens) -> None:
    page = opened(shared.url, extra_http_headers={"x-name": "ann"})
    tab(page, "Extensions")
    page.get_by_role("checkbox", name="Loopback").set_checked(False)
    page.get_by_role("button", name="Apply changes and reload UI").click()
    expect(page.get_by_text("only operators of this service may do this")).to_be_visible()
    tab(page, "Settings")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("only operators of this service may do this").nth(1)).to_be_visible()
    listed = httpx.get(f"{shared.url}sdapi/v1/extensions", headers={"x-name": "root"}).json()
    assert next(one for one in listed if one["name"] == "loopback")["enabled"]


def test_an_extension_is_installed_fails_and_is_released(shared: Service, opened: Opens, tmp_path: Path) -> None:
    put(tmp_path / "faulty", "Faulty", "fails", FAULTY)
    with zipfile.ZipFile(tmp_path / "faulty.zip", "w") as archive:
        for file in (tmp_path / "faulty").iterdir():
            archive.write(file, f"faulty/{file.name}")
    page = opened(shared.url, extra_http_headers={"x-name": "root"})
    tab(page, "Extensions")
    page.get_by_role("tab", name="Install", exact=True).click()
    page.locator("#easel-install input[type=file]").set_input_files(tmp_path / "faulty.zip")
    expect(page.get_by_text("faulty.zip").first).to_be_visible()
    page.get_by_role("button", name="Install", exact=True).click()
    expect(page.get_by_text("Faulty 1")).to_be_visible()
    for _ in range(2):
        httpx.post(f"{shared.url}sdapi/v1/txt2img", json={"prompt": "x", "steps": 1}, timeout=120)
    page.get_by_role("tab", name="Installed").click()
    row = page.locator("#easel-extensions tr", has_text="fails")
    expect(row).to_contain_text("quarantined")
    row.get_by_role("button", name="Faulty").click()
    expect(page.locator("#easel-extension")).to_contain_text("RuntimeError")
    page.get_by_role("button", name="Release from quarantine").click()
    expect(row).to_contain_text("enabled")
    expect(row).not_to_contain_text("quarantined")
