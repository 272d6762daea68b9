"""What extensions need: this Easel's hook API and installed packages. Checked, never installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from easel import hookspecs
from easel.errors import EaselError
from easel.extensions.manifest import FILE, BadManifest, Manifest

if TYPE_CHECKING:
    from packaging.requirements import Requirement


class Unavailable(EaselError):
    """The extension cannot run here: something it needs is missing."""

    code = 52


def check_requirements(manifest: Manifest, others: Iterable[Manifest] = ()) -> None:
    """Compare the manifest with this Easel and the installed packages. Errors: Unavailable, BadManifest.

    `others` are the manifests of everybody who is to be on: a package that two want differently is told of both.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(manifest.easel)
    except InvalidSpecifier as error:
        raise BadManifest(f"easel in {FILE}: {error}") from error
    if not wanted.contains(hookspecs.HOOK_API, prereleases=True):
        raise Unavailable(f"is written for hook API {manifest.easel}; this Easel has {hookspecs.HOOK_API}")
    missing = [f"{text}{_also(one, others)}" for one in _read(manifest) if (text := _missing(one))]
    if missing:
        raise Unavailable("needs " + "; ".join(missing))


def _read(manifest: Manifest) -> list[Requirement]:
    """The requirements that count on this machine."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirements = [Requirement(text) for text in manifest.requires]
    except InvalidRequirement as error:
        raise BadManifest(f"requires in {FILE}: {error}") from error
    return [one for one in requirements if one.marker is None or one.marker.evaluate()]


def _missing(requirement: Requirement) -> str:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement}, which is not installed"
    if not requirement.specifier.contains(installed, prereleases=True):
        return f"{requirement}; installed is {installed}"
    return ""


def _also(requirement: Requirement, others: Iterable[Manifest]) -> str:
    """Who else has a say in the same package, in words."""
    from packaging.utils import canonicalize_name

    said = []
    for other in others:
        try:
            theirs = [one for one in _read(other) if canonicalize_name(one.name) == canonicalize_name(requirement.name)]
        except BadManifest:
            continue  # that is told of the other one
        said += [f"extension {other.name!r} needs {one}" for one in theirs if one.specifier != requirement.specifier]
    return f" ({', '.join(said)})" if said else ""
