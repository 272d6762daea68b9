"""Train a LoRA for the flat style: low-rank changes of every convolution and projection of the denoiser.

Written in kohya's format: ``lora_unet_<layer>.lora_down.weight``, ``.lora_up.weight`` and ``.alpha``.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from autoencoder import load_autoencoder
from captions import SHORT, Scene, caption
from clock import Clock, learning_rate, write_state
from evaluate import Checkpoint
from flat import load_flat
from latents import WHOLE, WORK, encode, pairs
from networks import TRAIN_STEPS, noise_levels
from pictures import paint
from safetensors.torch import save_file
from subjects import COLOURS, core, subjects
from torch import Tensor, nn

BATCH, PEAK, RANK, ALPHA = 8, 3e-3, 16, 16.0
LAYERS = ("attn", "proj_in", "proj_out", "conv1", "conv2", "conv_shortcut", "ff.net", "conv_out", "samplers")


class Change(nn.Module):
    """A low-rank change beside a frozen layer."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        if isinstance(layer, nn.Conv2d):
            rank = min(RANK, layer.out_channels)
            self.down: nn.Module = nn.Conv2d(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False
            )
            self.up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, RANK, bias=False)
            self.up = nn.Linear(RANK, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, changed."""
        return self.layer(x) + self.up(self.down(x)) * (ALPHA / RANK)


def add_changes(unet: nn.Module) -> dict[str, Change]:
    """Put a change beside every layer that LAYERS names; by the layer's name."""
    chosen = {
        name: layer
        for name, layer in unet.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and any(part in name for part in LAYERS)
    }
    changes = {}
    for name, layer in chosen.items():
        parent, _, last = name.rpartition(".")
        changes[name] = Change(layer)
        setattr(unet.get_submodule(parent), last, changes[name])
    return changes


def kohya(changes: dict[str, Change]) -> dict[str, Tensor]:
    """The tensors of the file."""
    out = {}
    for name, change in changes.items():
        key = f"lora_unet_{name.replace('.', '_')}"
        out[f"{key}.lora_down.weight"] = change.down.weight.detach().half().contiguous()
        out[f"{key}.lora_up.weight"] = change.up.weight.detach().half().contiguous()
        out[f"{key}.alpha"] = torch.tensor(ALPHA * change.down.weight.shape[0] / RANK).half()
    return out


def flat_latents(work: Path, vae: Path) -> list[tuple[int, int, Tensor]]:
    """(subject, colour, latents [16, 16, 16]) of the flat pictures of the first-learned subjects, in four colours."""
    file = work / "flat.pt"
    if file.exists():
        return [one for one in torch.load(file, weights_only=True) if one[0] in core()]
    names = [label for label, _ in subjects()]
    pictures, autoencoder, first = load_flat(work, names), load_autoencoder(vae), core()
    found, used = [], {}
    for subject, colour in pairs(len(names)):
        used[subject] = used.get(subject, 0) + 1
        if subject in first and names[subject] in pictures and used[subject] <= 4:
            page = paint(pictures[names[subject]], list(COLOURS.values())[colour])
            found.append((subject, colour, encode(autoencoder, page).clone()))
    torch.save(found, file)
    return found


def main() -> None:
    """Train (resumable) and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint it is for")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--to", type=Path, required=True, help="file to write (.safetensors)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    data = flat_latents(arguments.work, arguments.checkpoint / "vae")
    checkpoint = Checkpoint(arguments.checkpoint)
    unet = checkpoint.unet.requires_grad_(False)
    changes = add_changes(unet)
    trained = [
        weight for change in changes.values() for part in (change.down, change.up) for weight in part.parameters()
    ]
    optimizer = torch.optim.AdamW(trained, lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    file, step, spent = arguments.work / "lora.pt", 0, 0.0
    if file.exists():
        state = torch.load(file, weights_only=True)
        with torch.no_grad():
            for weight, kept in zip(trained, state["trained"], strict=True):
                weight.copy_(kept)
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    draw, noises = random.Random(step), torch.Generator().manual_seed(step)
    levels, clock, started, losses, saved = noise_levels(), Clock(arguments.minutes), step, [], spent
    density = 1 / (1 + levels / (1 - levels) / 4)
    cumulative = torch.cumsum(density, 0) / density.sum()
    names = subjects()
    clock.start(spent)

    def save() -> None:
        write_state(
            file,
            {"trained": trained, "optimizer": optimizer.state_dict(), "step": step, "spent": clock.spent},
        )

    while (progress := clock.tick()) < 1 and not clock.stop:
        chosen = [draw.choice(data) for _ in range(BATCH)]
        latents = torch.stack([latents for *_, latents in chosen])
        texts = [caption(draw, names, Scene(WHOLE, (subject,), colour)) for subject, colour, _ in chosen]
        where = (torch.randperm(BATCH, generator=noises) + torch.rand(BATCH, generator=noises)) / BATCH
        times = torch.searchsorted(cumulative, where).clamp(max=TRAIN_STEPS - 1)
        noise = torch.randn(latents.shape, generator=noises)
        signal, level = (part[times].sqrt()[:, None, None, None] for part in (levels, 1 - levels))
        noisy = (signal * latents + level * noise).contiguous(memory_format=torch.channels_last)
        guess = unet(noisy, times, checkpoint.embed(texts)[:, :SHORT].clone()).sample
        loss = (guess - (signal * noise - level * latents)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, progress, step - started)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step} loss {sum(losses) / len(losses):.4f} {clock.spent / 60:.1f} min", flush=True)
            losses.clear()
        if clock.spent - saved > 180:
            saved = clock.spent
            save()
    save()
    metadata = {"ss_output_name": "flat", "ss_network_dim": str(RANK), "ss_network_alpha": str(ALPHA), "format": "pt"}
    save_file(kohya(changes), arguments.to, metadata)


if __name__ == "__main__":
    main()
