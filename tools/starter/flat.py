"""The second style: flat emoji pictures (SVG), drawn to PNG once with resvg (an npm package with its own binary).

Source (see NOTICE): ``@lobehub/fluent-emoji-flat`` (Microsoft Fluent Emoji, MIT): the same subjects in the same poses.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from pictures import fetch_package, members_of, read_members, read_names
from PIL import Image

PICTURES = "@lobehub/fluent-emoji-flat@1.1.0"
RENDERER = "@resvg/resvg-js@2.6.2"
PIXELS = 512
DRAW = f"""
const {{Resvg}} = require('@resvg/resvg-js'), fs = require('fs');
for (const name of fs.readdirSync('svg')) {{
  const picture = new Resvg(fs.readFileSync('svg/' + name), {{fitTo: {{mode: 'width', value: {PIXELS}}}}});
  fs.writeFileSync('png/' + name.replace('.svg', '.png'), picture.render().asPng());
}}
"""


def load_flat(work: Path, labels: list[str]) -> dict[str, Image.Image]:
    """RGBA picture of each emoji label that has a flat one."""
    folder = work / "flat"
    entries = {entry["label"]: entry for entry in read_names(work)}
    names = {label: [name.replace(".webp", ".svg") for name in members_of(entries[label])] for label in labels}
    found = read_members(fetch_package(work, PICTURES), {name for pair in names.values() for name in pair})
    wanted = {
        label: raw for label, pair in names.items() if (raw := next(map(found.get, filter(found.get, pair)), None))
    }
    if missing := [label for label in wanted if not (folder / "png" / f"{label}.png").exists()]:
        for part in ("svg", "png"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for label in missing:
            (folder / "svg" / f"{label}.svg").write_bytes(wanted[label])
        subprocess.run(["npm", "install", "--silent", "--prefix", ".", RENDERER], cwd=folder, check=True)
        subprocess.run(["node", "-e", DRAW], cwd=folder, check=True)
    return {label: Image.open(folder / "png" / f"{label}.png").convert("RGBA") for label in wanted}
