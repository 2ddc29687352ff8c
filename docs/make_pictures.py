"""Make the README's images from the released models and the public-domain portraits in spaces/examples.

python docs/make_pictures.py [complete] [symmetrize] [rotate] [normalize] [transfer]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import facesym

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "spaces" / "examples"
SIDE = 320


def around_face(photo, face):
    """Crop a square around the face, twice the size of its box."""
    x0, y0, x1, y1 = face.box
    half = max(x1 - x0, y1 - y0)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return photo.crop(tuple(round(v) for v in (x - half, y - half, x + half, y + half))).resize((SIDE, SIDE))


def complete():
    """Arrange the covered photo, the completed photo and the original."""
    pipe, rows = facesym.load("complete"), []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        for mask_path in sorted(EXAMPLES.glob(f"{path.stem}-*.png")):
            mask = np.asarray(Image.open(mask_path).convert("L")) > 127
            out = pipe(photo, mask=mask)
            holed = np.asarray(photo).copy()
            holed[mask] = (235, 64, 110)
            pictures = [Image.fromarray(holed), out.images[0], photo]
            rows.append([around_face(picture, out.faces[0]) for picture in pictures])
    return rows


def symmetrize():
    """Arrange the photo (and with a simulated palsy), the symmetrized face, its mirrored halves and the heat map."""
    from facesym.asymmetry import draw_heatmap, measure_asymmetry
    from facesym.data.symmetric import simulate_palsy
    from facesym.faces.align import align_face, ffhq_transform
    from facesym.faces.detect import detect_faces

    pipe, rows = facesym.load("symmetrize"), []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        crop = align_face(photo, ffhq_transform(detect_faces(photo)[0].points, 256), 256)
        points = measure_asymmetry(crop).points
        for side in (None, "left", "right"):
            image = crop
            if side:
                image = Image.fromarray(simulate_palsy(np.asarray(crop), points, side, 1.0)[0])
            out = pipe(image, aligned=True, composites=True)
            heat = draw_heatmap(out.crop[0], out.heatmap[0])
            pictures = [image, out.images[0], out.composites[0]["left"], out.composites[0]["right"], heat]
            rows.append([picture.resize((224, 224), Image.Resampling.LANCZOS) for picture in pictures])
    return rows


def rotate():
    """Arrange the fitted and turned face, then three generated faces interpolated to their mirror images."""
    import torch

    from facesym.fit import SPREAD
    from facesym.pipelines.crops import to_image

    side = (160, 160)
    pipe, rows = facesym.load("rotate"), []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        out = pipe(path, yaw=(-20, 20), frames=8)
        rows.append([out.crop[0], *out.frames[0]])
    for seed in (1, 2, 3):
        z = pipe.net.sample(1, torch.Generator().manual_seed(seed), SPREAD)
        with torch.inference_mode():
            rows.append([to_image(pipe.net(pipe.net.between(z, float(s)))[0]) for s in np.linspace(0, 1, 9)])
    return [[picture.resize(side, Image.Resampling.LANCZOS) for picture in row] for row in rows]


def normalize():
    """Arrange faces interpolated to their normalized versions: the portraits and turned generated faces."""
    import torch

    from facesym.fit import SPREAD
    from facesym.pipelines.crops import to_image

    pipe, rows, inputs = facesym.load("normalize"), [], []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        inputs.append(pipe(path).crop[0])
    net = facesym.zoo.load("rotate")
    for seed, yaw in ((5, -30), (256, 30), (294, -30), (318, 30)):
        z = net.turned(net.sample(1, torch.Generator().manual_seed(seed), SPREAD), yaw)
        with torch.inference_mode():
            inputs.append(to_image(net(z)[0]))
    for image in inputs:
        out = pipe(image, aligned=True, walk=5)
        rows.append(
            [picture.resize((200, 200), Image.Resampling.LANCZOS) for picture in (image, *out.walk[0][1:])]
        )
    return rows


def transfer():
    """Arrange the portraits with other expressions, poses and lighting."""
    pipe, rows = facesym.load("transfer"), []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        out = pipe(path, grid=True)
        shown = out.crop + [face for name, face in out.grid[0].items() if name not in ("frontal", "normal")]
        rows.append([picture.resize((150, 150), Image.Resampling.LANCZOS) for picture in shown])
    return rows


def main():
    makers = {
        "complete": complete, "symmetrize": symmetrize, "rotate": rotate, "normalize": normalize, "transfer": transfer,
    }  # fmt: skip
    for name in sys.argv[1:] or makers:
        rows = [np.concatenate([np.asarray(picture) for picture in row], 1) for row in makers[name]()]
        picture = Image.fromarray(np.concatenate(rows))
        picture.save(ROOT / "docs" / f"{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
