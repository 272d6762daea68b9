"""pytest fixtures for extensions' tests; see `easel.testing`. Nothing of Easel is imported before a test asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from easel.extensions.extension import Extension
    from easel.extensions.manifest import Manifest
    from easel.testing.service import EaselUnderTest
    from easel.values.result import Result


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest our mark."""
    config.addinivalue_line("markers", "easel_settings(**fields): settings of the extension under test")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Before a test module is imported: make the extension above it importable as `easel_extensions.<folder>`."""
    folder = _folder_above(module_path)
    if folder is not None:
        from easel.extensions.loader import import_package

        import_package(_manifest(folder), folder)


@pytest.fixture
def easel_extension(request: pytest.FixtureRequest, tmp_path: Path) -> Extension:
    """The extension above the test file, loaded as a service loads it but not started."""
    from easel.extensions.loader import load_extension
    from easel.extensions.requirements import check_requirements

    folder = _folder_of(request)
    manifest = _manifest(folder)
    check_requirements(manifest)
    return load_extension(manifest, folder, tmp_path / "extension-data", _environment(request, manifest))


@pytest.fixture
def easel_client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    """An HTTP client of a running service with the extension above the test file."""
    folder = _folder_of(request)
    with _running(folder, tmp_path / "data", _environment(request, _manifest(folder))) as client:
        yield client


@pytest.fixture(scope="module")
def easel_module_client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """The same for all tests of a module together, without settings of its own; `client.app.state.easel` is behind."""
    with _running(_folder_of(request), tmp_path_factory.mktemp("service") / "data", {}) as client:
        yield client


@pytest.fixture
def easel_app(easel_client: TestClient) -> EaselUnderTest:
    """The service behind `easel_client`."""
    app: EaselUnderTest = easel_client.app.state.easel  # type: ignore[attr-defined]
    return app


@pytest.fixture
def easel_generate(easel_app: EaselUnderTest) -> Callable[..., Result]:
    """`easel_generate(prompt, scripts={...}, **fields)`: one request through the whole service."""
    return easel_app.generate


@contextmanager
def _running(folder: Path, data: Path, environment: Mapping[str, str]) -> Iterator[TestClient]:
    from fastapi.testclient import TestClient

    from easel.api.server import create_api
    from easel.testing.service import EaselUnderTest

    app = EaselUnderTest(data, folder, environment)
    api = create_api(app)
    api.state.easel = app
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


def _folder_above(path: Path) -> Path | None:
    return next((folder for folder in path.parents if (folder / "extension.toml").is_file()), None)


def _folder_of(request: pytest.FixtureRequest) -> Path:
    folder = _folder_above(request.path)
    if folder is None:
        raise pytest.UsageError(f"{request.path.name}: no extension.toml in the folders above")
    return folder


def _manifest(folder: Path) -> Manifest:
    from easel.extensions.manifest import read_manifest

    return read_manifest(folder)


def _environment(request: pytest.FixtureRequest, manifest: Manifest) -> dict[str, str]:
    mark = request.node.get_closest_marker("easel_settings")
    given: dict[str, Any] = mark.kwargs if mark else {}
    prefix = f"EASEL_EXT_{manifest.package.upper()}__"
    return {prefix + name.upper(): str(value) for name, value in given.items()}
