"""A face detector with the heads of YuNet, by hand: a pure red cell of 32 x 32 pixels is a face of 128 around it.

YuNet's own weights are no part of Easel; this one runs in the same `cv2.FaceDetectorYN`.
"""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 32
FACE = (0.0, 0.0, log(4), log(4))  # left, top, and the sides' logarithms, in cells
PLACES = ((-0.6, 0), (0.6, 0), (0.006, 0.706), (-0.522, 1.252), (0.544, 1.249))  # of FFHQ, in cells, from their corner
STRIDES = (8, 16, CELL)


def write_detector(file: Path) -> None:
    """Save it as ONNX, for pictures of any size."""
    nodes, constants = [], []

    def constant(name: str, value: object, kind: type = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    redness = constant("redness", [[[[-1 / 255]], [[-1 / 255]], [[1 / 255]]]])  # of blue, green, red
    zero, one, column = constant("zero", 0), constant("one", 1), constant("column", [0, -1, 1], np.int64)
    red = node("Clip", [node("Conv", ["input", redness], "difference"), zero, one], "red")
    for stride in STRIDES:
        cells = node("AveragePool", [red], f"cells_{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2)
        flat = node("Reshape", [cells, column], f"flat_{stride}")
        score = node("Mul", [flat, one if stride == CELL else zero], f"cls_{stride}")
        node("Identity", [score], f"obj_{stride}")
        nothing = node("Mul", [flat, zero], f"nothing_{stride}")
        for name, values in (("bbox", FACE), ("kps", np.ravel(PLACES))):
            node("Add", [nothing, constant(f"{name}_of_{stride}", [[values]])], f"{name}_{stride}")
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = [
        helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, None, width])
        for name, width in widths.items()
        for stride in STRIDES
    ]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "detector", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
