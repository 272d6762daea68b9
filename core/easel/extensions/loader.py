"""From a found folder to an instance: requirements, import, hooks. Whatever is wrong is told in the author's words.

A folder is imported as `easel_extensions.<folder>`, a package that exists in `sys.modules` only: relative imports work,
`sys.path` stays as it is, and two extensions may both have a `utils.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isclass, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from easel import hookspecs
from easel.errors import ExtensionError
from easel.extensions.configuration import read_settings
from easel.extensions.extension import Extension, Place
from easel.extensions.guard import failure
from easel.extensions.manifest import FILE, Manifest
from easel.fetching import Fetcher
from easel.files import ScopedFiles

PARENT = "easel_extensions"


def load_extension(
    manifest: Manifest,
    folder: Path,
    data: Path,
    environment: Mapping[str, str],
    *,
    stored: Mapping[str, Any] | None = None,
    shared: Callable[[], ScopedFiles] | None = None,
    fetcher: Fetcher | None = None,
) -> Extension:
    """Import the folder and make an instance whose hooks are checked. Errors: ExtensionError, with the reason.

    `stored` are settings that operators set, `shared` is the data folder, `fetcher` the way out.
    """
    module = import_package(manifest, folder)
    entry = getattr(module, manifest.entry, None)
    if not isclass(entry) or not issubclass(entry, Extension):
        reason = f"entry {manifest.entry!r} is not a subclass of easel.Extension in __init__.py"
        raise ExtensionError(manifest.name, "load", reason)
    try:
        settings = read_settings(entry, manifest.name, environment, stored or {})
        place = Place(
            name=manifest.name,
            folder=folder,
            data=data,
            settings=settings,
            permissions=manifest.permissions,
            shared=shared,
            fetcher=fetcher or Fetcher(),
        )
        extension = entry(place)
        if extension.name != manifest.name:
            raise ValueError(f"its attribute `name` is {extension.name!r}; the name stands in {FILE}")
    except (Exception, SystemExit) as error:
        raise failure(manifest.name, "load", error) from error
    check_hooks(extension)
    return extension


def check_hooks(extension: Extension) -> None:
    """Refuse misspelt hooks, wrong arguments, hooks without the mark. Errors: ExtensionError."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(extension)
    except pluggy.PluginValidationError as error:
        raise ExtensionError(extension.name, "load", _explain(extension, manager) or str(error)) from error
    for caller in manager.get_hookcallers(extension) or ():
        if not caller.has_spec():
            near = get_close_matches(caller.name, hookspecs.STYLES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"hooks are: {', '.join(hookspecs.STYLES)}"
            raise ExtensionError(extension.name, caller.name, f"there is no such hook; {hint}")
        if manager.parse_hookimpl_opts(extension, caller.name) is None:
            raise ExtensionError(extension.name, caller.name, "a hook's method has the hook's own name (no specname)")
        for implementation in caller.get_hookimpls():
            if implementation.hookwrapper or (implementation.wrapper and hookspecs.STYLES[caller.name] != "first"):
                reason = "wrappers (wrapper=True) are for hooks of the style 'first'; use tryfirst or trylast"
                raise ExtensionError(extension.name, caller.name, reason)
    for hook in hookspecs.STYLES:
        if callable(getattr(extension, hook, None)) and manager.parse_hookimpl_opts(extension, hook) is None:
            raise ExtensionError(extension.name, hook, "has the name of a hook but not the mark @hookimpl")


def _explain(extension: Extension, manager: pluggy.PluginManager) -> str:
    """Which hook asks for an argument that does not exist, in words."""
    for hook in hookspecs.STYLES:
        if manager.parse_hookimpl_opts(extension, hook) is None:
            continue
        allowed = list(signature(getattr(hookspecs, hook)).parameters)
        wrong = [name for name in signature(getattr(extension, hook)).parameters if name not in allowed]
        if wrong:
            return f"{hook} has no argument {wrong[0]!r}; allowed: {', '.join(allowed) or 'none'}"
    return ""


def import_package(manifest: Manifest, folder: Path) -> ModuleType:
    """The extension's package; imported already and from the same folder, it is used again."""
    name = f"{PARENT}.{manifest.package}"
    loaded = sys.modules.get(name)
    if loaded is not None:
        if list(loaded.__path__) == [os.fspath(folder)]:
            return loaded
        forget_modules(manifest)  # the same name from another folder: that one counts now
    if PARENT not in sys.modules:
        parent = ModuleType(PARENT, "Where extensions are imported; it has no folder.")
        parent.__path__ = []
        sys.modules[PARENT] = parent
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[os.fspath(folder)])
    if spec is None or spec.loader is None or not (folder / "__init__.py").is_file():
        raise ExtensionError(manifest.name, "load", "there is no __init__.py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise failure(manifest.name, "import", error) from error
    return module


def forget_modules(manifest: Manifest) -> None:
    """Take an extension's modules out of `sys.modules`: after a failure, so that the next try begins anew."""
    name = f"{PARENT}.{manifest.package}"
    for module in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
        del sys.modules[module]
