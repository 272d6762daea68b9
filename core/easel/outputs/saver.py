"""Encode finished pictures and, where the request says so, save them below the data folder."""

from __future__ import annotations

from collections.abc import Callable

from easel.files import ScopedFiles
from easel.hookspecs import hookimpl
from easel.imaging.encode import MAX_SIDE, encode, format_of, holds
from easel.killpoints import killpoint
from easel.outputs.journal import Journal
from easel.outputs.naming import picture_path
from easel.values.image import Image, SavedImage
from easel.values.job import Job


class OutputSaver:
    """The last `save_image`: `files` gives the data folder of the job's user, without what users may not name.

    Errors: Forbidden (a `save_dir` outside), UnknownName (format), EaselError (disk full, read-only). A file is there
    whole or not at all.
    """

    def __init__(self, files: Callable[[], ScopedFiles], journal: Journal) -> None:
        self._files, self._journal = files, journal

    @hookimpl(trylast=True)
    def save_image(self, image: Image, job: Job) -> SavedImage:
        """Encode in the format of option `samples_format` or `grid_format`; save when the request asks for it."""
        options = job.request.options
        field = "grid_format" if image.kind == "grid" else "samples_format"
        extension: str = getattr(options, field).lower()
        format = format_of(extension, field)
        if max(image.pixels.size) > MAX_SIDE[format]:
            job.warn(f"{format} cannot hold {image.pixels.width}x{image.pixels.height} pixels: written as png")
            format = extension = "png"
        infotext = image.infotext if options.enable_pnginfo else ""
        if not holds(format, infotext):
            job.warn(f"{format} cannot hold {len(infotext)} characters of generation data: written without")
        data = encode(
            image.pixels,
            format,
            infotext=infotext,
            texts=image.texts if options.enable_pnginfo else (),
            quality=options.jpeg_quality,
            lossless=options.webp_lossless,
        )
        path = self._save(image, job, extension, data) if _wanted(image, job) else None
        return SavedImage(
            data=data,
            format=format,
            kind=image.kind,
            seed=image.seed,
            subseed=image.subseed,
            prompt=image.prompt,
            negative_prompt=image.negative_prompt,
            infotext=image.infotext,
            path=path,
            flags=image.flags,
            scores=image.scores,
        )

    def _save(self, image: Image, job: Job, extension: str, data: bytes) -> str:
        asked, files = job.request.output.save_dir, self._files()
        folder = files.relative(asked) if asked else "outputs"
        stem = picture_path(image, job)
        path = files.relative(f"{folder}/{stem}.{extension}".removeprefix("/"))
        if job.request.output.journal:
            self._journal.note(job.id, path)
        killpoint("saving")
        files.write(path, data)
        killpoint("saved")
        if job.request.options.save_txt and image.kind == "result":
            text = f"{path.removesuffix(extension)}txt"
            if job.request.output.journal:
                self._journal.note(job.id, text)
            files.write(text, f"{image.infotext}\n".encode())
        return path


def _wanted(image: Image, job: Job) -> bool:
    output, options = job.request.output, job.request.options
    if output.save_dir:
        return True
    if image.kind == "grid":
        return output.save and options.grid_save
    if image.kind == "control":
        return output.save and options.control_net_detectmap_autosaving
    return output.save and options.samples_save
