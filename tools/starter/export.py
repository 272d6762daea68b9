"""Write a trained state as a diffusers checkpoint folder: fp16 safetensors, card.json, weights.sha256.json."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from autoencoder import load_autoencoder
from captions import UNKNOWN
from hashes import write_hashes
from latents import WORK
from networks import build_text_encoder, build_unet
from transformers import CLIPTextModel

VOCABULARY = 49408


def whole_text_encoder(state: dict[str, torch.Tensor], rows: list[int]) -> CLIPTextModel:
    """The trained text encoder with CLIP's full embedding table; tokens that never occurred get the unknown row."""
    model = build_text_encoder(VOCABULARY)
    small = dict(state)
    name = next(key for key in small if key.endswith("token_embedding.weight"))
    trained = small[name]
    table = trained[rows.index(UNKNOWN)].repeat(VOCABULARY, 1)
    for row, token in enumerate(rows):
        if token != UNKNOWN:
            table[token] = trained[row]
    small[name] = table
    model.load_state_dict(small)
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = 49406, 49407, 49407
    return model


def main() -> None:
    """Assemble the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--name", default="main")
    parser.add_argument(
        "--start", type=Path, required=True, help="checkpoint folder that gives autoencoder, tokenizer, scheduler"
    )
    parser.add_argument("--to", type=Path, required=True, help="new folder; must not exist")
    parser.add_argument("--weights", choices=("smooth", "unet"), default="unet", help="averaged or last weights")
    parser.add_argument("--version", type=int, required=True)
    arguments = parser.parse_args()
    state = torch.load(arguments.work / f"{arguments.name}.pt", weights_only=True)
    unet = build_unet()
    unet.load_state_dict(state[arguments.weights])
    arguments.to.mkdir(parents=True)
    unet.to(torch.float16).save_pretrained(arguments.to / "unet")
    text = arguments.work / "text.pt"
    if text.exists():
        words = torch.load(text, weights_only=True)
        whole_text_encoder(words["text"], words["rows"]).to(torch.float16).save_pretrained(
            arguments.to / "text_encoder"
        )
    load_autoencoder(arguments.start / "vae").to(torch.float16).save_pretrained(arguments.to / "vae")
    for folder in ("tokenizer", "scheduler", *([] if text.exists() else ["text_encoder"])):
        shutil.copytree(arguments.start / folder, arguments.to / folder)
    card = {
        "name": "starter",
        "version": arguments.version,
        "native_size": [512, 512],
        "pixels_per_latent": 32,
        "latent_channels": 16,
        "latent_scaling_factor": 1.0,
        "prediction_type": "v_prediction",
        "suggested": {"steps": 20, "cfg_scale": 2.5, "sampler": "DPM++ 2M", "scheduler": "Karras"},
        "trained": {"steps": state["step"], "minutes": round(state["spent"] / 60, 1)},
        "licence": "made from MIT-licensed pictures and names; see docs/starter-models.md",
    }
    (arguments.to / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    size = write_hashes(arguments.to)
    print(f"wrote {arguments.to}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
