from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from easel.extensions.finder import CHECKOUT, find_extensions, installed_roots, standard_roots

Write = Callable[..., Path]


def test_a_root_is_an_extension_or_is_searched_one_level_deep(write: Write, root: Path, tmp_path: Path) -> None:
    write("b-two")
    write("a-one")
    write("deep", root=root / "group")
    alone = write("alone", root=tmp_path)
    (root / "no-manifest").mkdir()
    assert [one.name for one in find_extensions([root, alone])] == ["a-one", "b-two", "alone"]


def test_the_first_of_a_name_counts(write: Write, root: Path, tmp_path: Path) -> None:
    first = write("same")
    second = write("same", root=tmp_path / "later")
    found = find_extensions([root, root, tmp_path / "later", tmp_path / "missing"])
    assert [(one.folder, one.shadowed_by) for one in found] == [(first, None), (second, first)]


def test_a_bad_manifest_is_found_with_its_reason_and_nothing_is_imported(write: Write, root: Path) -> None:
    write("broken", "pass", colour="red", head="raise SystemExit")
    (found,) = find_extensions([root])
    assert found.manifest is None
    assert "unknown key 'colour'" in found.reason


def test_the_standard_roots_in_their_order(tmp_path: Path) -> None:
    roots = standard_roots(tmp_path, path=f"/one{os.pathsep}/two", root="/three")
    assert roots[2:] == [tmp_path / "extensions", Path("/one"), Path("/two"), Path("/three")]
    assert roots[:2] == [CHECKOUT / "extensions", CHECKOUT / "filebrowser"]
    assert (CHECKOUT / "core" / "easel").is_dir()


def test_an_installed_package_is_found_by_its_entry_point(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    folder = write("packaged", root=site, head="raise SystemExit('imported')")
    info = site / "packaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[easel.extensions]\npackaged = packaged\nlost = not_there_at_all\n")
    monkeypatch.syspath_prepend(site)
    assert folder in installed_roots()
    assert "packaged" not in sys.modules
