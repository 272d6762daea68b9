from __future__ import annotations

from pathlib import Path

import pytest

from easel.extensions.manifest import BadManifest, parse_manifest, read_manifest

GOOD = {"name": "my-ext", "title": "T", "version": "1", "summary": "s", "entry": "E", "easel": ">=1,<2"}


def test_a_manifest_with_everything() -> None:
    table = {
        **GOOD,
        "requires": ["numpy>=1"],
        "enabled": False,
        "permissions": {"hosts": ["example.org"], "changes": ["prompt.positive"]},
    }
    manifest = parse_manifest(table)
    assert manifest.package == "my_ext"
    assert manifest.requires == ("numpy>=1",)
    assert not manifest.enabled
    assert manifest.permissions.hosts == ("example.org",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'; did you mean 'name'?"),
        ({"name": "My Ext"}, "name is 'My Ext'"),
        ({"name": "../x"}, "name is '../x'"),
        ({"version": 1}, "version is 1; allowed: a text"),
        ({"entry": "a.b"}, "entry is 'a.b'"),
        ({"requires": "numpy"}, "requires is 'numpy'; allowed: a list of texts"),
        ({"enabled": "yes"}, "enabled is 'yes'; allowed: true, false"),
        ({"permissions": {"host": []}}, "unknown key 'permissions.host'; did you mean 'hosts'?"),
        ({"permissions": 1}, "permissions is 1"),
    ],
)
def test_a_bad_manifest_is_told_in_words(change: dict[str, object], words: str) -> None:
    with pytest.raises(BadManifest) as error:
        parse_manifest({**GOOD, **change})
    assert words in error.value.message


@pytest.mark.parametrize("key", GOOD)
def test_every_text_is_needed(key: str) -> None:
    with pytest.raises(BadManifest, match=f"missing: {key}"):
        parse_manifest({name: value for name, value in GOOD.items() if name != key})


def test_a_file_that_is_no_toml_too_large_or_in_another_folder(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(BadManifest, match="cannot be read"):
        read_manifest(folder)
    file = folder / "extension.toml"
    file.write_text("name = ")
    with pytest.raises(BadManifest, match="cannot be read"):
        read_manifest(folder)
    file.write_text("#" * 70_000)
    with pytest.raises(BadManifest, match="larger than"):
        read_manifest(folder)
    file.write_text("".join(f"{key} = {value!r}\n" for key, value in GOOD.items()))
    with pytest.raises(BadManifest, match=r"'my-ext' is not the folder's name, 'other'"):
        read_manifest(folder)
