"""Restoring faces: the contract of who does it. Nobody is built in; extensions bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

    from easel.values.job import Job


class FaceRestorer(Protocol):
    """Makes faces in an RGB picture better. An extension returns one from `register_face_restorers`."""

    @property
    def name(self) -> str:
        """As the option `face_restoration_model` names it."""
        ...

    @property
    def lacks(self) -> str:
        """In words, what must be put where before it can work; "" when it can. Asked anew for every job."""
        ...

    def for_job(self, job: Job) -> FaceRestorer:
        """The same for one job's pictures: what computes with a model does it through `job.compute`."""
        ...

    def restore(self, picture: Pixels, weight: float | None = None) -> Pixels:
        """The picture with its faces restored, of the same size.

        `weight` (0 … 1, 0 is the strongest) is for who has such a thing; None: as the job's options say.
        """
        ...
