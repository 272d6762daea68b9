"""What becomes of finished pictures: the core's own `save_image`."""

from easel.outputs.saver import OutputSaver

__all__ = ["OutputSaver"]
