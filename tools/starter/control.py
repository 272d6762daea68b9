"""Train a canny ControlNet for the denoiser: edges (cv2.Canny 100/200 at 512x512) steer where things are.

The copy of the denoiser's way down starts from its weights, the connections into it from zero. The first, full-size
layers of the hint encoder keep their random weights, scaled to pass edges on evenly: what they make of a picture is
computed once and put together like the latents are (latents.py). Pieces of half the size stand anywhere, so that the
edges tell what the words do not; a third of the captions is empty.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from captions import SHORT, Scene, caption
from clock import Clock, learning_rate, write_state
from diffusers import ControlNetModel, UNet2DConditionModel
from evaluate import Checkpoint
from latents import GIANT, KINDS, SMALL, WHOLE, WORK, Key, Latents, load_latents
from networks import TRAIN_STEPS, noise_levels
from pictures import load_subjects, paint
from PIL import Image
from scenes import Scenes
from subjects import COLOURS, wide_subjects
from torch import Tensor, nn

BATCH, PEAK = 8, 8e-4
HINT_CHANNELS = (8, 8, 16, 32, 48, 64)
FROZEN_BLOCKS = 8  # of the hint encoder; up to here a feature stands for 16 pixels
THRESHOLDS = (100, 200)


def edges(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> 0 or 255 [H, W]."""
    return cv2.Canny(picture, *THRESHOLDS)


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet with the weights of the denoiser's way down."""
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    net.add_embedding.load_state_dict(unet.add_embedding.state_dict())
    generator = torch.Generator().manual_seed(0)
    hint = net.controlnet_cond_embedding
    for layer in (hint.conv_in, *hint.blocks):
        nn.init.normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    return net.to(memory_format=torch.channels_last)


def stem(hint: nn.Module, picture: Tensor, settle: bool = False) -> Tensor:
    """The frozen layers: hints [N, 3, H, W] in 0..1 -> [N, 48, H/16, W/16]; ``settle`` scales them to unit spread."""
    x = picture
    for layer in (hint.conv_in, *hint.blocks[:FROZEN_BLOCKS]):
        if settle:
            with torch.no_grad():
                layer.weight.div_(layer(x).std())
        x = F.silu(layer(x))
    return x


class Tail(nn.Module):
    """The trained layers of the hint encoder, in its place while training."""

    def __init__(self, hint: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([*hint.blocks[FROZEN_BLOCKS:]])
        self.last = hint.conv_out

    def forward(self, x: Tensor) -> Tensor:
        """[N, 48, 32, 32] -> [N, C, 16, 16]."""
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.last(x)


class Hints:
    """Stem features of scenes, computed when first needed and kept."""

    def __init__(self, hint: nn.Module, pictures: list[Image.Image]) -> None:
        self.hint, self.pictures = hint, pictures
        self.kept: dict[Key, Tensor] = {}
        self.edge = self.features(np.zeros((512, 512), np.uint8))
        self.blank = self.edge[:, 16:17, 16:17]

    def features(self, map_: np.ndarray) -> Tensor:
        """Of an edge map [H, W]."""
        with torch.inference_mode():
            x = torch.from_numpy(map_.copy()).float()[None, None].expand(1, 3, -1, -1) / 255
            return stem(self.hint, x.contiguous(memory_format=torch.channels_last))[0].clone()

    def piece(self, key: Key) -> Tensor:
        """Features of a piece alone, without its page's border: [48, 2 * cells, 2 * cells]."""
        if key not in self.kept:
            kind, subject, colour = key
            canvas, size, cells = KINDS[kind]
            page = paint(self.pictures[subject], list(COLOURS.values())[colour], canvas, size)
            cut = (canvas // 32 - cells) * 16
            if kind == SMALL:
                found = self.features(edges(page))[:, 2:-2, 2:-2]
            else:
                found = self.features(edges(page[cut : cut + 512, cut : cut + 512]))
            self.kept[key] = found.half()
        return self.kept[key].float()

    def compose(self, placed: list[tuple[Key, int, int]]) -> Tensor:
        """Of a scene: pieces at their top and left cells."""
        if placed[0][0][0] != SMALL:
            return self.piece(placed[0][0])
        page = self.edge.clone()
        for key, top, left in placed:
            page[:, 2 * top : 2 * top + 16, 2 * left : 2 * left + 16] = self.piece(key)
        return page


class Batches:
    """Endless training batches."""

    def __init__(self, data: Latents, hints: Hints, names: list[tuple[str, str]], seed: int) -> None:
        self.data, self.hints, self.names, self.draw = data, hints, names, random.Random(seed)
        self.scenes = Scenes(data, self.draw, first=0.6, listed=0.2)
        self.noise = torch.Generator().manual_seed(seed)
        levels = noise_levels()
        density = 1 / (1 + levels / (1 - levels) / 2)
        self.cumulative = torch.cumsum(density, 0) / density.sum()

    def placed(self) -> tuple[Scene, list[tuple[Key, int, int]]]:
        """A scene and where its pieces are: in a half of the cases one or two small ones anywhere."""
        luck, subject = self.draw.random(), self.scenes.subject()
        if luck < 0.5:
            kind = GIANT if luck < 0.05 else WHOLE
            colour = self.draw.choice(self.scenes.colours[kind, subject])
            return Scene(kind, (subject,), colour), [((kind, subject, colour), 0, 0)]
        if luck < 0.8:
            colour = self.draw.choice(self.scenes.colours[SMALL, subject])
            place = (self.draw.randint(0, 8), self.draw.randint(0, 8))
            return Scene(SMALL, (subject,), colour), [((SMALL, subject, colour), *place)]
        scene, _ = self.scenes.pair(subject)
        (left, right), colour = scene.subjects, scene.colour
        tops = self.draw.randint(0, 8), self.draw.randint(0, 8)
        return scene, [((SMALL, left, colour), tops[0], 0), ((SMALL, right, colour), tops[1], 8)]

    def next(self) -> tuple[Tensor, list[str], Tensor, Tensor, Tensor]:
        """Latents, captions, noise, timesteps, hint features."""
        latents, texts, hints = [], [], []
        for _ in range(BATCH):
            scene, placed = self.placed()
            latents.append(self.data.compose(scene.colour, *placed))
            hints.append(self.hints.compose(placed))
            # never a word of size or place: only the edges may tell it
            said = Scene(WHOLE, (self.draw.choice(scene.subjects),), scene.colour)
            texts.append("" if self.draw.random() < 0.25 else caption(self.draw, self.names, said))
        where = (torch.randperm(BATCH, generator=self.noise) + torch.rand(BATCH, generator=self.noise)) / BATCH
        times = torch.searchsorted(self.cumulative, where).clamp(max=TRAIN_STEPS - 1)
        clean = torch.stack(latents)
        return clean, texts, torch.randn(clean.shape, generator=self.noise), times, torch.stack(hints)


def main() -> None:
    """Train (resumable) and write ``work/controlnet.pt``; ``control_export.py`` makes the files of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint it is for")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    checkpoint = Checkpoint(arguments.checkpoint)
    unet = checkpoint.unet.requires_grad_(False)
    names = wide_subjects(arguments.work)
    net = build_controlnet(unet)
    hint = net.controlnet_cond_embedding
    pictures = load_subjects(arguments.work, [label for label, _ in names])
    some = edges(paint(pictures["cat"], COLOURS["white"]))
    stem(hint, torch.from_numpy(some).float()[None, None].expand(1, 3, -1, -1) / 255, settle=True)
    file, step, spent = arguments.work / "controlnet.pt", 0, 0.0
    state = torch.load(file, weights_only=True) if file.exists() else None
    if state:
        net.load_state_dict(state["net"])
    net.requires_grad_(True)
    for layer in (hint.conv_in, *hint.blocks[:FROZEN_BLOCKS]):
        layer.requires_grad_(False)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    if state:
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    hints = Hints(hint, list(pictures.values()))
    batches = Batches(load_latents(arguments.work), hints, names, 7_000_003 + step)
    whole, net.controlnet_cond_embedding = hint, Tail(hint)
    levels, clock, started = noise_levels(), Clock(arguments.minutes), step
    saved, losses = spent, []
    clock.start(spent)

    def save() -> None:
        net.controlnet_cond_embedding = whole
        write_state(
            file,
            {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": clock.spent},
        )
        net.controlnet_cond_embedding = Tail(whole)

    while (progress := clock.tick()) < 1 and not clock.stop:
        latents, texts, noise, times, features = batches.next()
        signal, level = (part[times].sqrt()[:, None, None, None] for part in (levels, 1 - levels))
        noisy = (signal * latents + level * noise).contiguous(memory_format=torch.channels_last)
        context = checkpoint.embed(texts)[:, :SHORT].clone()
        down, middle = net(noisy, times, encoder_hidden_states=context, controlnet_cond=features, return_dict=False)
        guess = unet(
            noisy, times, context, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
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


if __name__ == "__main__":
    main()
