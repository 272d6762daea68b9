"""Pictures without models: reading, resizing, masks, grids, encoding. numpy, Pillow and OpenCV only."""
