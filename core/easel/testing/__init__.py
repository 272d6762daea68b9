"""The kit for extension authors: a pytest plugin with a service around one extension, and `check` for a folder.

Fixtures (`easel.testing.plugin`, loaded by itself where Easel is installed):

- `easel_extension`: the extension above the test file, loaded by the real loader; `@pytest.mark.easel_settings(a=1)`
  gives its settings. Test modules import its code as `easel_extensions.<folder>`.
- `easel_app`: a running service with that extension only, a fake engine and a data folder of its own;
  `easel_app.engine.calls` tells what the models were asked, `easel_app.store` is its model store.
- `easel_generate(prompt, scripts={title: arguments}, **fields)`: a request through every hook, in milliseconds; a hook
  that fails raises, even where a service would warn and go on.
- `easel_client`: an HTTP client of the same service; `easel_module_client`: one for all tests of a module, which is
  quicker where they do not mind what the others left.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easel.testing.checks import Problem, check
    from easel.testing.service import EaselUnderTest

__all__ = ["EaselUnderTest", "Problem", "check"]


def __getattr__(name: str) -> Any:
    # pytest imports the plugin at its start, tests of Easel or not: the service is imported when somebody asks.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "service" if name == "EaselUnderTest" else "checks"
    return getattr(import_module(f"{__name__}.{home}"), name)
