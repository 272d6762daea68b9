"""What pyproject.toml cannot say: the wheel carries `extensions/` and `filebrowser/` as `easel/bundled/…`.

They are folders that the finder loads by path (`easel.extensions.finder`), no packages for setuptools to find.
"""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithExtensions(build_py):
    """Copies the package, then the folders beside it; an editable installation finds them in the checkout."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            for folder in ("extensions", "filebrowser"):
                target = Path(self.build_lib, "easel", "bundled", folder)
                copytree(folder, target, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithExtensions})
