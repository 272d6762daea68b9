"""Our reading of the safety checker against its own decision, on a small one with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from easel_extensions.nsfw_censor.detectors import _clip_input, safety_checker
from PIL import Image as Pillow


@pytest.mark.long  # its imports take seconds
@pytest.mark.filterwarnings("ignore")
def test_half_is_the_checkers_own_limit(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    torch.manual_seed(1)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config={**vision, "image_size": 224, "patch_size": 56}, projection_dim=8)
    )
    pictures = [Pillow.new("RGB", (96, 64), colour) for colour in ("red", "green", "blue", "white")]
    pictures += [Pillow.effect_noise((64, 96), sigma).convert("RGB") for sigma in (10, 50, 100)]
    inputs = torch.cat([_clip_input(one) for one in pictures])
    with torch.inference_mode():
        embedded = model.visual_projection(model.vision_model(inputs)[1])
        model.concept_embeds.copy_(torch.randn(17, 8))
        model.special_care_embeds.copy_(torch.randn(3, 8))
        closest = torch.cosine_similarity(embedded[:, None], model.concept_embeds[None], dim=-1).amax(dim=0)
        model.concept_embeds_weights.copy_(closest + 0.005)  # nothing is flagged by itself …
        special = torch.cosine_similarity(embedded[:, None], model.special_care_embeds[None], dim=-1)
        model.special_care_embeds_weights.copy_(special.median(dim=0).values)  # … but with special care some are
        _, said = model(inputs, np.zeros((len(pictures), 1, 1, 3)))
    assert set(said) == {True, False}
    model.save_pretrained(tmp_path, safe_serialization=True)
    score = safety_checker("cpu", tmp_path)
    assert [score(one) > 0.5 for one in pictures] == list(map(bool, said))
