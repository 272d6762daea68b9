"""The preprocessors: names, labels, values they take, kinds of ControlNet they go with; and which can run here.

Names, labels, ranges and their order are those that clients of sd-webui-controlnet know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from easel import NotAvailable, UnknownName


@dataclass(frozen=True, slots=True)
class Slider:
    """A value that a preprocessor takes. What is outside of its range becomes the default."""

    name: str = ""
    default: float = 0.5
    least: float = 0
    most: float = 1
    step: float = 0.01

    def within(self, value: float) -> float:
        """`value` where it is in range, else the default."""
        return value if self.least <= value <= self.most else self.default


HIDDEN = Slider()  # what a value is checked against that the preprocessor does not take
RESOLUTION = Slider("Resolution", 512, 64, 2048, 8)


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """One preprocessor. `needs`: stems of its files in models/Annotators; `never`: why it is not here at all."""

    name: str
    types: tuple[str, ...] = ()
    label_: str = ""
    a: Slider = HIDDEN
    b: Slider = HIDDEN
    resolution: Slider = RESOLUTION
    needs: tuple[str, ...] = ()
    never: str = ""

    @property
    def label(self) -> str:
        """What a page shows."""
        return self.label_ or self.name

    @property
    def sliders(self) -> tuple[Slider, ...]:
        """Those that are shown."""
        return tuple(one for one in (self.resolution, self.a, self.b) if one.name)

    @property
    def model_free(self) -> bool:
        """It works without a ControlNet."""
        return self.name.startswith(("reference", "revision"))

    @property
    def inpaints(self) -> bool:
        """It wants a mask: where to paint."""
        return self.name.startswith("inpaint")


def find(name: str, files: Collection[str], field: str) -> Preprocessor:
    """A preprocessor by name or label, which can run: `files` are those in models/Annotators.

    Errors: UnknownName; NotAvailable that says what is missing and where to put it.
    """
    found = next((one for one in ALL if name in (one.name, one.label)), None)
    if found is None:
        raise UnknownName.among(field, name, [one.name for one in runnable(files)])
    if found.never:
        raise NotAvailable(f"{field}: the preprocessor {name!r} is not available: {found.never}")
    if found.needs and not _ready(found, files):
        paths = " and ".join(f"models/Annotators/{stem}.safetensors" for stem in found.needs)
        raise NotAvailable(
            f"{field}: the preprocessor {name!r} needs the package controlnet-aux (pip install controlnet-aux) and"
            f" {paths}; `easel convert` makes such a file of a .pth"
        )
    return found


def runnable(files: Collection[str]) -> Iterator[Preprocessor]:
    """Those that can run, in the order that clients know."""
    return (one for one in ALL if not one.never and (not one.needs or _ready(one, files)))


def _ready(one: Preprocessor, files: Collection[str]) -> bool:
    there = all(f"{stem}.safetensors" in files for stem in one.needs)
    return there and find_spec("controlnet_aux") is not None


_SAFE_STEPS = Slider("Safe Steps", 2, 0, 10, 1)
_GAMMA = Slider("Gamma Correction", 1.0, 0.1, 2.0, 0.001)
_FIDELITY = Slider("Style Fidelity (only for Balanced mode)", 0.5, 0.0, 1.0, 0.01)
_NO_RESOLUTION = HIDDEN
_FIXED_RESOLUTION = Slider("", 512)
_ADAPTER = "IP-adapters, and what works like them, are not available"
_NOT_PACKED = "no package that Easel knows brings it"
_TORCHVISION = "it needs torchvision"
_VARIATION = Slider("Variation", 8.0, 3.0, 32.0, 1.0)
_HED, _PIDI = ("ControlNetHED",), ("table5_pidinet",)
_LINEART, _POSE = ("sk_model", "sk_model2"), ("body_pose_model", "hand_pose_model", "facenet")

ALL: tuple[Preprocessor, ...] = (
    Preprocessor("none"),
    Preprocessor("ip-adapter-auto", ("IP-Adapter",), never=_ADAPTER),
    Preprocessor("tile_resample", ("Tile",), a=Slider("Down Sampling Rate", 1.0, 1.0, 8.0, 0.01)),
    Preprocessor("pidinet", ("SoftEdge",), "softedge_pidinet", needs=_PIDI),
    Preprocessor("oneformer_ade20k", ("Segmentation",), "seg_ofade20k", never=_NOT_PACKED),
    Preprocessor("pidinet_scribble", ("Scribble", "SparseCtrl"), "scribble_pidinet", needs=_PIDI),
    Preprocessor("revision_clipvision", ("Revision",), never=_ADAPTER),
    Preprocessor("reference_only", ("Reference",), a=_FIDELITY),
    Preprocessor("recolor_luminance", ("Recolor",), a=_GAMMA),
    Preprocessor("openpose_full", ("OpenPose",), needs=_POSE),
    Preprocessor("normal_bae", ("NormalMap",), never=_TORCHVISION),
    Preprocessor(
        "mlsd",
        ("MLSD",),
        a=Slider("MLSD Value Threshold", 0.1, 0.01, 2.0, 0.01),
        b=Slider("MLSD Distance Threshold", 0.1, 0.01, 20.0, 0.01),
        needs=("mlsd_large_512_fp32",),
    ),
    Preprocessor("lineart_standard", ("Lineart",), "lineart_standard (from white bg & black line)"),
    Preprocessor("ip-adapter_clip_sd15", ("IP-Adapter",), "ip-adapter_clip_h", never=_ADAPTER),
    Preprocessor("inpaint_only", ("Inpaint",), resolution=_NO_RESOLUTION),
    Preprocessor("depth", ("Depth",), "depth_midas", never=_TORCHVISION),
    Preprocessor(
        "canny", ("Canny",), a=Slider("Low Threshold", 100, 1, 255, 1), b=Slider("High Threshold", 200, 1, 255, 1)
    ),
    Preprocessor(
        "invert",
        ("Canny", "Lineart", "MLSD", "Scribble"),
        "invert (from white bg & black line)",
        resolution=_NO_RESOLUTION,
    ),
    Preprocessor("tile_colorfix+sharp", ("Tile",), a=_VARIATION, b=Slider("Sharpness", 1.0, 0.0, 2.0, 0.01)),
    Preprocessor("tile_colorfix", ("Tile",), a=_VARIATION),
    Preprocessor("threshold", a=Slider("Binarization Threshold", 127, 0, 255, 0.01)),
    Preprocessor("clip_vision", ("T2I-Adapter",), "t2ia_style_clipvision", never=_ADAPTER),
    Preprocessor("pidinet_sketch", ("T2I-Adapter",), "t2ia_sketch_pidi", needs=_PIDI),
    Preprocessor("color", ("T2I-Adapter",), "t2ia_color_grid"),
    Preprocessor("softedge_teed", ("SoftEdge",), a=_SAFE_STEPS, needs=("7_model",)),
    Preprocessor("pidinet_safe", ("SoftEdge",), "softedge_pidisafe", needs=_PIDI),
    Preprocessor("hed_safe", ("SoftEdge",), "softedge_hedsafe", needs=_HED),
    Preprocessor("hed", ("SoftEdge",), "softedge_hed", needs=_HED),
    Preprocessor(
        "softedge_anyline",
        ("SoftEdge",),
        a=_SAFE_STEPS,
        resolution=Slider("Resolution", 1280, 64, 2048, 8),
        never=_NOT_PACKED,
    ),
    Preprocessor("shuffle", ("Shuffle",), resolution=_FIXED_RESOLUTION),
    Preprocessor("segmentation", ("Segmentation",), "seg_ufade20k", never=_NOT_PACKED),
    Preprocessor("oneformer_coco", ("Segmentation",), "seg_ofcoco", never=_NOT_PACKED),
    Preprocessor("anime_face_segment", ("Segmentation",), "seg_anime_face", never=_NOT_PACKED),
    Preprocessor("scribble_xdog", ("Scribble", "SparseCtrl"), a=Slider("XDoG Threshold", 32, 1, 64, 0.01)),
    Preprocessor("scribble_hed", ("Scribble", "SparseCtrl"), needs=_HED),
    Preprocessor("revision_ignore_prompt", ("Revision",), never=_ADAPTER),
    Preprocessor("reference_adain+attn", ("Reference",), a=_FIDELITY),
    Preprocessor("reference_adain", ("Reference",), a=_FIDELITY),
    Preprocessor("recolor_intensity", ("Recolor",), a=_GAMMA),
    Preprocessor("openpose_hand", ("OpenPose",), needs=_POSE),
    Preprocessor("openpose_faceonly", ("OpenPose",), needs=_POSE),
    Preprocessor("openpose_face", ("OpenPose",), needs=_POSE),
    Preprocessor("openpose", ("OpenPose",), needs=_POSE),
    Preprocessor("normal_map", ("NormalMap",), "normal_midas", never=_NOT_PACKED),
    Preprocessor("normal_dsine", ("NormalMap",), never=_NOT_PACKED),
    Preprocessor("mobile_sam", ("Segmentation",), never=_NOT_PACKED),
    Preprocessor("mediapipe_face", never="today's mediapipe has no part that it needs"),
    Preprocessor("lineart", ("Lineart",), "lineart_realistic", needs=_LINEART),
    Preprocessor("lineart_coarse", ("Lineart",), needs=_LINEART),
    Preprocessor("lineart_anime_denoise", ("Lineart",), never=_NOT_PACKED),
    Preprocessor("lineart_anime", ("Lineart",), needs=("netG",)),
    Preprocessor("ip-adapter_pulid", ("IP-Adapter",), never=_ADAPTER),
    Preprocessor("ip-adapter_face_id_plus", ("IP-Adapter",), never=_ADAPTER),
    Preprocessor("ip-adapter_face_id", ("IP-Adapter",), never=_ADAPTER),
    Preprocessor("ip-adapter_clip_sdxl_plus_vith", ("IP-Adapter",), never=_ADAPTER),
    Preprocessor("ip-adapter_clip_sdxl", ("IP-Adapter",), "ip-adapter_clip_g", never=_ADAPTER),
    Preprocessor("instant_id_face_keypoints", ("Instant-ID",), never=_ADAPTER),
    Preprocessor("instant_id_face_embedding", ("Instant-ID",), never=_ADAPTER),
    Preprocessor("inpaint_only+lama", ("Inpaint",), never=_NOT_PACKED),
    Preprocessor("inpaint", ("Inpaint",), "inpaint_global_harmonious", resolution=_NO_RESOLUTION),
    Preprocessor("facexlib", never=_ADAPTER),
    Preprocessor("dw_openpose_full", ("OpenPose",), never=_NOT_PACKED),
    Preprocessor("depth_zoe", ("Depth",), never=_TORCHVISION),
    Preprocessor("depth_leres++", ("Depth",), never=_NOT_PACKED),
    Preprocessor("depth_leres", ("Depth",), never=_NOT_PACKED),
    Preprocessor("depth_hand_refiner", ("Depth",), never=_NOT_PACKED),
    Preprocessor("depth_anything_v2", ("Depth",), never=_NOT_PACKED),
    Preprocessor("depth_anything", ("Depth",), never=_NOT_PACKED),
    Preprocessor("densepose_parula", ("OpenPose",), "densepose_parula (black bg & blue torso)", never=_NOT_PACKED),
    Preprocessor("densepose", ("OpenPose",), "densepose (pruple bg & purple torso)", never=_NOT_PACKED),
    Preprocessor("blur_gaussian", ("Tile",), a=Slider("Sigma", 9.0, 0.01, 64.0, 0.01)),
    Preprocessor("animal_openpose", ("OpenPose",), never=_NOT_PACKED),
)
