"""What is made for the starter is refused by checkpoints of other families, with the reason."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from easel.errors import ModelError
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import ModelStore
from easel.values.prompt import Adapter

EXTRAS = Path(str(files("easel"))) / "starter" / "extras"


@pytest.fixture(scope="module")
def tiny(tiny_data: Path) -> LoadedCheckpoint:
    """A checkpoint with SD1's layers, of other sizes than any real one."""
    return load_checkpoint(ModelStore(tiny_data).checkpoint("tiny"), Placement())


def test_the_lora(tiny: LoadedCheckpoint) -> None:
    flat = Adapter(name="flat", file=str(EXTRAS / "models/Lora/flat.safetensors"), unet_weight=1.0, text_weight=1.0)
    with pytest.raises(ModelError, match=r"flat.*made for another kind of model"):
        tiny.set_adapters((flat,))


def test_the_autoencoder(tiny: LoadedCheckpoint) -> None:
    own = tiny.vae
    with pytest.raises(ModelError, match=r"starter_vivid.*another family.*16 channels, those of tiny.*have 4"):
        tiny.set_vae(EXTRAS / "models/VAE/starter_vivid.safetensors")
    assert tiny.vae is own


def test_its_files_are_listed_with_the_starter_only(tiny_data: Path, tmp_path: Path) -> None:
    assert [file.name for file in ModelStore(tmp_path).files("lora")] == ["flat"]
    assert "flat" not in [file.name for file in ModelStore(tiny_data).files("lora")]
