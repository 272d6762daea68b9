"""Which models there are: the embedded one, and the folders in `models/BeautifulPrompt/`. Nothing is loaded here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, Field

from easel import BadRequest

from .template import TEXT2PROMPT_V1, TEXT2PROMPT_V2, Template

STARTER = "starter"
FOLDER = "models/BeautifulPrompt"  # as users know it
TEMPLATE_FILE = "template.txt"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
LARGEST_TEMPLATE = 16_384  # bytes


class Sampling(BaseModel):
    """How words are drawn; what is not given is the model's own default."""

    temperature: float = Field(1.0, ge=0, le=5, description="0: always the likeliest word")
    top_k: int = Field(50, ge=0, le=1000, description="draw from this many words; 0: from all")
    top_p: float = Field(0.95, gt=0, le=1, description="draw from the likeliest words that make up this share")
    repetition_penalty: float = Field(1.2, ge=1, le=5)
    max_new_tokens: int = Field(77, ge=1, le=384, description="length of the answer")


KNOWN = {
    "pai-bloom-1b1-text2prompt-sd": ("single objects", TEXT2PROMPT_V1, Sampling(max_new_tokens=128)),
    "pai-bloom-1b1-text2prompt-sd-v2": ("complex scenes", TEXT2PROMPT_V2, Sampling(repetition_penalty=1.1)),
}
_EMBEDDED = ("small, built in", TEXT2PROMPT_V2, Sampling(repetition_penalty=1.1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One model; `missing` says why it cannot be used and what to do, "" when it can."""

    name: str
    about: str
    place: str  # as clients may see it
    folder: Path
    missing: str = ""
    template: Template | None = None
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def size(self) -> int:
        """Bytes of its weights on disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))


def shelf(folder: Path) -> dict[str, Shelved]:
    """All models by name: the embedded one first, then those that are known by name, then all others in `folder`."""
    embedded = Path(str(files("easel").joinpath("starter", "expander")))
    models = [_shelved(STARTER, embedded, "embedded", *_EMBEDDED)] if embedded.is_dir() else []
    for name, known in KNOWN.items():
        models.append(_shelved(name, folder / name, f"{FOLDER}/{name}", *known))
    for path in _others(folder):
        models.append(_shelved(path.name, path, f"{FOLDER}/{path.name}", "", None, Sampling()))
    return {model.name: model for model in models}


def find(models: dict[str, Shelved], name: str, default: str) -> Shelved:
    """The model of that name; for "" the default, else the first that can be used. Errors: BadRequest."""
    usable = [model.name for model in models.values() if not model.missing]
    if not name:
        name = default if default in usable or not usable else usable[0]
    if name not in models or models[name].missing:
        why = models[name].missing if name in models else f"there is none of this name in {FOLDER}/"
        raise BadRequest(f"this model cannot be used: {why}", field="model", value=name, allowed=", ".join(usable))
    return models[name]


def _others(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith(".") and path.name not in (*KNOWN, STARTER):
                yield path


def _shelved(name: str, folder: Path, place: str, about: str, template: str | None, sampling: Sampling) -> Shelved:
    missing, read = _missing(folder, place), None
    if not missing:
        try:
            read = Template(_template(folder) or template or "")
        except (OSError, ValueError) as error:
            reason = "has no place for {prompt}" if isinstance(error, ValueError) else "cannot be read"
            missing = (
                f"{place}/{TEMPLATE_FILE} is missing or {reason}: the text that asks the model, with {{prompt}} in it"
            )
    return Shelved(
        name=name, about=about, place=place, folder=folder, missing=missing, template=read, sampling=sampling
    )


def _missing(folder: Path, place: str) -> str:
    if not (folder / "config.json").is_file():
        return f"put the folder of the model, as Hugging Face has it, to {place}/"
    if not any((folder / name).is_file() for name in WEIGHTS):
        for file in sorted(folder.iterdir()):
            if file.suffix in (".bin", ".pt"):
                advice = f"`easel convert` makes a .safetensors of it, to be named {WEIGHTS[0]}"
                return f"{place}/{file.name} is a pickle, which is not read: {advice}"
        return f"{place}/{WEIGHTS[0]} is missing"
    return ""


def _template(folder: Path) -> str:
    file = folder / TEMPLATE_FILE
    if not file.is_file():
        return ""
    with file.open(encoding="utf-8") as text:
        return text.read(LARGEST_TEMPLATE)
