"""Making a flagged picture again with another seed: the request for it, and its place in the draft."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from easel import Draft, GenerationRequest, Image

_LISTS = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
_FIRSTS = {"prompt": "all_prompts", "negative_prompt": "all_negative_prompts", "seed": "all_seeds"}


def request_again(request: GenerationRequest, flagged: Image) -> GenerationRequest:
    """The request of this one picture with another seed; the same every time."""
    digest = hashlib.sha256(f"{flagged.seed} {flagged.subseed}".encode()).digest()
    init = request.init
    if init is not None:
        init = replace(init, pictures=(init.pictures[flagged.index % len(init.pictures)],))
    return replace(
        request,
        seed=int.from_bytes(digest[:4], "big"),
        subseed=flagged.subseed,
        batch_size=1,
        n_iter=1,
        init=init,
    )


def with_new(draft: Draft, made: Mapping[int, Draft]) -> Draft:
    """`draft` with the pictures of these indices, and what is told of them, from the drafts that replace them.

    A mask or an intermediate picture goes with its result; one that has no successor is left out.
    """
    images = []
    for image in draft.images:
        if image.index not in made or image.kind == "control":
            images.append(image)
            continue
        same = (new for new in made[image.index].images if (new.kind, new.suffix) == (image.kind, image.suffix))
        images += [replace(new, index=image.index) for new in same][:1]
    info = dict(draft.info)
    for key in _LISTS:
        info[key] = [made[k].info[key][0] if k in made else old for k, old in enumerate(draft.info[key])]
    info |= {key: info[values][0] for key, values in _FIRSTS.items()}
    info["infotexts"] = [image.infotext for image in images if image.kind == "result"]
    return Draft(images=tuple(images), info=info)
