"""What the JSON API takes and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["folder", "picture", "video", "text", "file"]
Sort = Literal["name", "modified", "size"]


class Body(BaseModel):
    """A request; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Item(BaseModel):
    """A file or folder. `size` in bytes (0 for folders), `modified` in seconds since 1970."""

    name: str
    path: str
    kind: Kind
    size: int
    modified: float


class Listing(BaseModel):
    """A folder: `items` of the `total` that it holds. `writable` is false on a read-only disk."""

    path: str
    writable: bool
    total: int
    items: list[Item]


class Found(BaseModel):
    """What a search found; `complete` is false when there may be more."""

    items: list[Item]
    complete: bool


class Details(BaseModel):
    """A file or folder, and of a picture its size and generation data, or the `problem` of reading it."""

    item: Item
    width: int | None = None
    height: int | None = None
    infotext: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    problem: str = ""


class Text(BaseModel):
    """The beginning of a text file; `complete` is false when there is more."""

    text: str
    complete: bool


class Room(BaseModel):
    """Bytes: taken by the person's files, allowed (`quota`, null: no bound), and free on the disk of `path`."""

    used: int
    quota: int | None
    free: int


class FolderBody(Body):
    """A folder to make."""

    path: str


class MoveBody(Body):
    """Where something is, and the path it shall have. A file that is `replace`d goes to the trash."""

    path: str
    to: str
    replace: bool = False


class PathsBody(Body):
    """Several files and folders."""

    paths: list[str] = Field(min_length=1, max_length=10_000)


class TrashItem(BaseModel):
    """Something in the trash; `path` is where it was."""

    id: str
    path: str
    deleted: float
    size: int
    folder: bool


class UploadBody(Body):
    """A file that will come: its path, its size in bytes. One that is `replace`d goes to the trash."""

    path: str
    size: int = Field(ge=0)
    replace: bool = False


class UploadState(BaseModel):
    """An upload: `offset` bytes of `size` are there. Pieces of at most `chunk` bytes are taken."""

    id: str
    path: str
    size: int
    offset: int
    complete: bool
    chunk: int
