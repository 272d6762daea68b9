"""The file manager: a page at `/filebrowser/` and its JSON API, on the files that a person may see."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from easel import Extension, ScopedFiles, Tab, User, hookimpl

from .page import page_routes
from .pictures import Thumbnails
from .quota import Quota
from .routes_changes import change_routes
from .routes_files import file_routes
from .routes_uploads import upload_routes
from .space import Space
from .uploads import Uploads


class FileBrowserSettings(BaseModel):
    """What an operator may set, as `EASEL_EXT_FILEBROWSER__QUOTA_GB` and so on."""

    quota_gb: float = Field(default=0, ge=0, description="gigabytes that one person's files may take; 0: no bound")
    chunk_mb: int = Field(default=8, ge=1, le=1024, description="megabytes that the page sends at once")


class FileBrowser(Extension):
    """Puts the parts together; every request works on the files of whoever sends it."""

    settings_model = FileBrowserSettings

    @hookimpl
    def register_routes(self, app: Any) -> list[APIRouter]:
        """The page and the API."""

        def files_of(user: str) -> ScopedFiles:
            files: ScopedFiles = app.files_for(User(user))
            return files

        def space_of(request: Request) -> Space:
            user: User = request.state.user
            return Space(user.name, app.files_for(user), lambda *paths: _look_again(app, paths))

        kept = ScopedFiles(self.data)
        quota = Quota(int(self.settings.quota_gb * 2**30))
        chunk = min(self.settings.chunk_mb, app.settings.max_body_mb) << 20
        uploads = Uploads(kept, quota, files_of)
        uploads.sweep()
        thumbnails = Thumbnails(kept, app.settings.max_input_pixels)
        thumbnails.sweep()
        return [
            page_routes(self.folder, lambda: str(app.options.get("localization"))),
            file_routes(space_of, thumbnails, quota),
            change_routes(space_of, quota),
            upload_routes(space_of, uploads, chunk),
        ]

    @hookimpl
    def register_tabs(self) -> Tab:
        """Its own page, inside the page."""

        def build(page: Any) -> None:
            from .tab import build  # gradio is only where there is a page

            build(page)

        return Tab("FileBrowser", build, order=20)


def _look_again(app: Any, paths: tuple[str, ...]) -> None:
    """A file that came, went or moved may be a model; a picture under `outputs/` is none."""
    if any(path.partition("/")[0] != "outputs" for path in paths):
        app.refresh_models()
