"""Make the README's picture from the released model and the public-domain portraits in spaces/examples.

python docs/make_pictures.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

import facesym

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "spaces" / "examples"
SIDE = 320


def around_face(photo, face):
    """A square of the photo about the face, twice its box."""
    x0, y0, x1, y1 = face.box
    half = max(x1 - x0, y1 - y0)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return photo.crop(tuple(round(v) for v in (x - half, y - half, x + half, y + half))).resize((SIDE, SIDE))


def main():
    pipe, rows = facesym.load("complete"), []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        for mask_path in sorted(EXAMPLES.glob(f"{path.stem}-*.png")):
            mask = np.asarray(Image.open(mask_path).convert("L")) > 127
            out = pipe(photo, mask=mask)
            holed = np.asarray(photo).copy()
            holed[mask] = (235, 64, 110)
            pictures = [Image.fromarray(holed), out.images[0], photo]
            rows.append(np.concatenate([np.asarray(around_face(p, out.faces[0])) for p in pictures], 1))
    Image.fromarray(np.concatenate(rows)).save(ROOT / "docs" / "complete.png", optimize=True)


if __name__ == "__main__":
    main()
