"""Make the tests' reference thumbnails: the first-learned subjects at 32x32, solid ones above flat ones, RGBA."""

from __future__ import annotations

import argparse
from pathlib import Path

from flat import load_flat
from latents import WORK
from pictures import load_subjects
from PIL import Image
from subjects import core, subjects

EDGE = 32


def main() -> None:
    """Write the sheet (.png) and beside it the subjects' words, one a line (.txt)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, default=WORK)
    arguments = parser.parse_args()
    chosen = [subjects()[number] for number in sorted(core())]
    labels = [label for label, _ in chosen]
    sheet = Image.new("RGBA", (EDGE * len(labels), 2 * EDGE))
    for row, pictures in enumerate((load_subjects(arguments.work, labels), load_flat(arguments.work, labels))):
        for column, label in enumerate(labels):
            page = Image.new("RGBA", (512, 512))
            page.paste(pictures[label].resize((432, 432), Image.Resampling.LANCZOS), (40, 40))
            sheet.paste(page.resize((EDGE, EDGE), Image.Resampling.BOX), (column * EDGE, row * EDGE))
    sheet.quantize(256).save(arguments.file, optimize=True)
    arguments.file.with_suffix(".txt").write_text("".join(f"{word}\n" for _, word in chosen))


if __name__ == "__main__":
    main()
