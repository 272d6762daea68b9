"""What requests may ask for: sampling options, the script, the route."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .shelf import Sampling

LARGEST_SEED = 2**63 - 1


class Options(BaseModel):
    """Sampling options of a request; null is the model's own default."""

    model: str = Field("", description='a name of GET /beautiful_prompt/models; "": the default')
    temperature: float | None = Field(None, ge=0, le=5, description="0: always the likeliest word")
    top_k: int | None = Field(None, ge=0, le=1000, description="draw from this many words; 0: from all")
    top_p: float | None = Field(None, gt=0, le=1, description="draw from the likeliest words that make up this share")
    repetition_penalty: float | None = Field(None, ge=1, le=5)
    max_new_tokens: int | None = Field(None, ge=1, le=384, description="length of the answer")

    def sampling(self, default: Sampling) -> Sampling:
        """The model's defaults, with what was asked for."""
        asked = {key: value for key, value in self.model_dump().items() if value is not None}
        return default.model_copy(update={key: asked[key] for key in Sampling.model_fields if key in asked})


class Switch(BaseModel):
    """On or off."""

    enabled: bool = Field(False, description="expand the prompt of every picture")


class Arguments(Options, Switch):
    """The script: what a request may ask for, `enabled` first."""


class ToExpand(Options):
    """Words to expand."""

    prompt: str = Field(min_length=1, max_length=2000)
    candidates: int = Field(1, ge=1, le=8)
    seed: int = Field(-1, ge=-1, le=LARGEST_SEED, description="of the first candidate; -1: any")
