"""The page: all its parts are there and ours, and nothing in it needs what its own policy forbids."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

from .conftest import API, Files

PAGE = Path(__file__).parents[1] / "page"


def test_the_page_and_everything_it_names(files: Files) -> None:
    page = files.client.get("/filebrowser", follow_redirects=True)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    named = set(re.findall(r'(?:src|href)="(page/[^"]+)"', page.text))
    for script in PAGE.glob("*.js"):
        named |= {f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert {f"page/{file.name}" for file in PAGE.iterdir()} == named | {"page/index.html"}
    for name in named:
        answer = files.client.get(f"/filebrowser/{name}")
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(files: Files) -> None:
    for file in PAGE.iterdir():
        addresses = re.findall(r'https?://[^"\s)]+', file.read_text())
        assert {urlsplit(address).netloc for address in addresses} <= {"www.w3.org"}  # the name of SVG
    page = files.client.get("/filebrowser/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)


def test_the_page_asks_only_for_routes_that_there_are(files: Files) -> None:
    routes = {path.removeprefix(f"{API}/") for path in files.client.get("/openapi.json").json()["paths"]}
    text = "".join(file.read_text() for file in PAGE.glob("*.js"))
    asked = set(re.findall(r'(?<![.\w])(?:get|post|put|remove|address)\("([a-z]+)"', text))
    assert asked
    assert asked <= routes


def test_other_files_of_the_extension_are_not_served(files: Files) -> None:
    for name in ("__init__.py", "extension.toml", "../extension.toml", "..%2fextension.toml", "page"):
        assert files.client.get(f"/filebrowser/page/{name}").status_code == 404


class Words(HTMLParser):
    """The texts of the page's HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attributes if name in ("placeholder", "aria-label") and value}

    def handle_data(self, data: str) -> None:
        self.found.add(data.strip())


def test_every_word_of_the_page_has_chinese(files: Files) -> None:
    words = Words()
    words.feed((PAGE / "index.html").read_text("utf-8").partition("<body>")[2])
    code = "".join(file.read_text("utf-8") for file in PAGE.glob("*.js"))
    said = set(re.findall(r'(?:text|translated)\("([^"]+)"', code)) | set(re.findall(r'\.end\("([^"]+)"\)', code))
    known = json.loads((PAGE.parent / "localizations" / "zh_CN.json").read_text("utf-8"))
    assert len(said) > 40
    assert {one for one in said | words.found if re.search("[a-z]", one)} <= set(known)


def test_the_words_are_those_of_the_service(files: Files) -> None:
    assert files.client.get("/filebrowser/texts").json() == {}
    files.client.post("/sdapi/v1/options", json={"localization": "zh_CN"})
    told = files.client.get("/filebrowser/texts").json()
    assert (told["language"], told["texts"]["Upload"]) == ("zh-CN", "上传")
    files.client.post("/sdapi/v1/options", json={"localization": "None"})
