"""Make the examples and their results again, with the weights that are released now: `python spaces/make_examples.py`.

The pictures are portraits in the public domain that scikit-image and matplotlib carry, and faces that nobody has, made
by the symmetric GAN. What hides a face is drawn. Everything goes into spaces/examples/<example>/, with index.json.
"""

import argparse
import dataclasses
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("FACESYM_FIT_SECONDS", "60")

import app
import cv2
import numpy as np
import parts
import stage
import torch
from PIL import Image, ImageDraw, ImageFilter

from facesym.faces.align import align_face
from facesym.faces.find import find_faces
from facesym.faces.landmarks import find_points
from facesym.faces.load import Photo, mark_edited, read_photo
from facesym.pipelines.crops import to_image

SIDE = 512
SMALL = 224  # side of a thumbnail
PLAN = [  # tab, title, portrait, what is drawn over it, choices
    ("complete", "Sunglasses", "astronaut", "sunglasses", ()),
    ("complete", "A face mask", 225, "mask", ()),
    ("complete", "An old, scratched photo", "hopper", "scratch", ()),
    ("complete", "A finger over the lens", 251, "finger", ()),
    ("complete", "A phone before one eye", 147, "phone", ()),
    ("symmetrize", "An old face", "hopper", None, (False,)),
    ("symmetrize", "A laugh", "astronaut", None, (False,)),
    ("symmetrize", "A face that nobody has", 109, None, (False,)),
    ("symmetrize", "Grey hair", 173, None, (False,)),
    ("rotate", "Out of the photo", "astronaut", None, ()),
    ("rotate", "An old face", "hopper", None, ()),
    ("rotate", "A face that nobody has", 204, None, ()),
    ("rotate", "A man", 202, None, ()),
    ("normalize", "A laugh", "astronaut", None, ()),
    ("normalize", "Laughing, turned", 193, None, ()),
    ("normalize", "Turned away", 194, None, ()),
    ("normalize", "A smile", 188, None, ()),
    ("transfer", "A smile for the admiral", "hopper", None, (1, True, "happy")),
    ("transfer", "Surprised", 251, None, (1, True, "surprised")),
    ("transfer", "Light from the side", 109, None, (1, True, "side")),
    ("transfer", "Neutral", "astronaut", None, (1, True, "neutral")),
    ("transfer", "Turned to the left", 147, None, (1, True, "left 20")),
    ("complete", "A book before half the face", 225, "book", ()),
    ("complete", "A hand", 173, "hand", ()),
    ("complete", "Glasses, taken off", "hopper", "glasses", ()),
]


def portrait(which) -> Image.Image:
    """A portrait: "astronaut", "hopper", or the number of a face that nobody has."""
    if which == "astronaut":
        from skimage import data

        return (
            Image.fromarray(data.astronaut())
            .crop((80, 0, 370, 290))
            .resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        )
    if which == "hopper":
        return Image.open(parts.EXAMPLES / "grace-hopper.jpg").convert("RGB")
    net = app.rotate.tab.pipeline.get().net
    with torch.inference_mode():
        face = to_image(net(net.sample(1, torch.Generator().manual_seed(which), 0.8))[0])
    large = face.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(ImageFilter.UnsharpMask(3, 60, 0))
    grain = np.random.default_rng(which).normal(0, 2.5, (SIDE, SIDE, 1))
    return Image.fromarray((np.asarray(large) + grain).clip(0, 255).astype(np.uint8))


def landmarks(image: Image.Image) -> np.ndarray:
    """The 68 landmarks of the largest face, pixels of the picture."""
    _, (index, *_), transforms = find_faces(image, "largest", 256)
    points = find_points(align_face(image, transforms[index], 256))
    inverse = cv2.invertAffineTransform(transforms[index])
    return points @ inverse[:, :2].T + inverse[:, 2]


# --- what hides a face: each takes a picture and its landmarks; returns the covered picture and the mask ------------


def sunglasses(image, points):
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    width = np.linalg.norm(right - left)
    layer, draw = _layer(image.size)
    for eye in (left, right):
        x, y = eye[0], eye[1] + 0.06 * width
        draw.ellipse(
            [x - 0.44 * width, y - 0.33 * width, x + 0.44 * width, y + 0.36 * width], (18, 20, 26, 255)
        )
        draw.ellipse(
            [x - 0.3 * width, y - 0.24 * width, x + 0.05 * width, y - 0.05 * width], (70, 78, 92, 255)
        )
    draw.line([tuple(left), tuple(right)], (18, 20, 26, 255), max(3, int(0.1 * width)))
    for eye, ear in ((left, points[0]), (right, points[16])):
        draw.line([tuple(eye), tuple(ear)], (18, 20, 26, 255), max(3, int(0.08 * width)))
    return _lay(image, layer, 1.2)


def mask(image, points):
    outline = np.concatenate([points[2:15], points[28:29]])
    layer, draw = _layer(image.size)
    draw.polygon([tuple(p) for p in outline], (168, 204, 222, 255))
    for fraction in (0.35, 0.55, 0.75):
        a, b = (
            (1 - fraction) * points[2] + fraction * points[6],
            (1 - fraction) * points[14] + fraction * points[10],
        )
        draw.line([tuple(a), tuple(b)], (135, 176, 198, 255), 3)
    for a, b in ((2, 0), (14, 16)):
        draw.line([tuple(points[a]), tuple(points[b] + [0, 6])], (225, 232, 236, 255), 4)
    return _lay(image, layer, 1)


def scratch(image, points):
    image = image.convert("L").convert("RGB")
    rng = np.random.default_rng(3)
    layer, draw = _layer(image.size)
    x0, y0, x1, y1 = *points.min(0), *points.max(0)
    for start, end in (
        ((0.1, -0.2), (0.6, 1.02)),
        ((0.95, -0.1), (0.25, 0.95)),
        ((-0.05, 0.62), (1.05, 0.78)),
    ):
        way = np.linspace(start, end, 14) + rng.normal(0, 0.02, (14, 2))
        way = way * [x1 - x0, y1 - y0] + [x0, y0]
        draw.line([tuple(p) for p in way], (236, 233, 226, 255), 6, joint="curve")
    return _lay(image, layer, 0.8)


def finger(image, points):
    layer, draw = _layer(image.size)
    x, y = points[13]
    r = 0.3 * np.ptp(points[:, 0])
    draw.ellipse([x - 1.3 * r, y - 1.1 * r, x + 0.8 * r, y + 1.2 * r], (203, 137, 116, 255))
    return _lay(image, layer, 7)


def phone(image, points):
    layer, draw = _layer(image.size)
    height = np.ptp(points[:, 1])
    left, right = points[27:31, 0].mean() + 0.04 * height, points[16, 0] + 0.06 * height
    top, bottom = points[24, 1] - 0.15 * height, points[33, 1] + 0.02 * height
    draw.rounded_rectangle(
        [left, top, right, bottom], 0.08 * height, (34, 37, 44, 255), (92, 98, 110, 255), 3
    )
    for y in (0.12, 0.27):
        x, r = left + 0.13 * height, 0.05 * height
        draw.ellipse(
            [x - r, top + y * height - r, x + r, top + y * height + r],
            (12, 13, 18, 255),
            (80, 86, 98, 255),
            3,
        )
    return _lay(image, layer, 0.8)


def book(image, points):
    """A book before the half of the face on the image's right."""
    wide, high = np.ptp(points[:, 0]), np.ptp(points[:, 1])
    left, right = points[27:34, 0].mean() + 0.02 * wide, points[16, 0] + 0.07 * wide
    top, bottom = points[24, 1] - 0.2 * high, points[8, 1] + 0.02 * high
    layer, draw = _layer(image.size)
    draw.rectangle([left, top, right, bottom], (126, 38, 44, 255))
    draw.rectangle([left, top, left + 0.07 * wide, bottom], (96, 26, 32, 255))
    for inset in (0.05, 0.065):
        edge = inset * high
        box = [left + 0.07 * wide + edge, top + edge, right - edge, bottom - edge]
        draw.rectangle(box, None, (196, 158, 84, 255), 2)
    return _lay(image, layer, 0.8)


def hand(image, points):
    """Four fingers and a thumb before the mouth and a cheek."""
    wide, high = np.ptp(points[:, 0]), np.ptp(points[:, 1])
    layer, draw = _layer(image.size)
    palm = points[8] + [0.3 * wide, 0.3 * high]
    tips = points[51] + np.array([[-0.05, 0.08], [0.02, -0.1], [0.18, -0.2], [0.34, -0.2]]) * [wide, high]
    for tip in [*tips, points[54] + [0.42 * wide, 0.12 * high]]:
        bow = (palm + tip) / 2 + [0.03 * wide, 0]
        for thick, colour in ((0.175, (168, 110, 88)), (0.155, (201, 140, 114)), (0.07, (214, 156, 131))):
            way = np.linspace(0, 1, 40)[:, None]
            way = (1 - way) ** 2 * palm + 2 * way * (1 - way) * bow + way**2 * tip
            for x, y in way:
                r = thick * wide / 2
                draw.ellipse([x - r, y - r, x + r, y + r], (*colour, 255))
        x, y = tip - [0, 0.02 * high]
        draw.ellipse(
            [x - 0.035 * wide, y - 0.04 * high, x + 0.035 * wide, y + 0.03 * high], (232, 190, 176, 255)
        )
    x, y = palm
    draw.ellipse([x - 0.3 * wide, y - 0.25 * high, x + 0.3 * wide, y + 0.4 * high], (201, 140, 114, 255))
    return _lay(image, layer, 1)


def glasses(image, points):
    """Nothing is drawn: the glasses in the photo are marked."""
    width = np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0))
    layer, draw = _layer(image.size)
    for eye in (points[36:42].mean(0), points[42:48].mean(0)):
        x, y = eye
        draw.rounded_rectangle(
            [x - 0.62 * width, y - 0.42 * width, x + 0.55 * width, y + 0.5 * width],
            0.3 * width,
            (0, 0, 0, 255),
        )
    _, hidden = _lay(image, layer, 1)
    return image, hidden


def _layer(size):
    layer = Image.new("RGBA", size)
    return layer, ImageDraw.Draw(layer)


def _lay(image, layer, blur):
    """The picture under a drawn layer with a soft rim, and where it is hidden."""
    soft = layer.filter(ImageFilter.GaussianBlur(blur))
    alpha = soft.getchannel("A")
    colour = layer.convert("RGB").filter(ImageFilter.GaussianBlur(blur / 3))
    inside = Image.composite(colour, soft.convert("RGB"), layer.getchannel("A"))
    covered = Image.composite(inside, image, alpha)
    hidden = cv2.dilate((np.asarray(alpha) > 6).astype(np.uint8), np.ones((7, 7)))
    return covered, hidden.astype(bool)


# --- the results ----------------------------------------------------------------------------------------------------


def make(number: int, tab: str, title: str, which, cover, choices) -> dict:
    """One example: its entry in index.json. Its files go into a folder of its own."""
    folder = parts.EXAMPLES / f"{number:02d}-{tab}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts.private_folder = lambda: folder
    image, hidden = portrait(which), None
    if cover:
        image, hidden = globals()[cover](image, landmarks(image))
        Image.fromarray(hidden).save(folder / "mask.png", optimize=True)
    image.save(folder / "photo.jpg", quality=82)
    photo: Photo = read_photo(folder / "photo.jpg")
    found, (chosen, *_), _ = find_faces(portrait(which), "largest", 256)
    shot = stage.Shot(str(folder / "photo.jpg"), [face.box for face in found], photo.image.size, "", [])
    module = getattr(app, tab)
    if cover:
        outcome = module.finish(_quiet, photo, "example", hidden, "all")
    else:
        outcome = module.work(_quiet, {"chosen": chosen}, shot, *choices)
    outcome.downloads = [(label, path) for label, path in outcome.downloads if label == "Result (PNG)"]
    shrink_files(folder, outcome, tab)
    first = outcome.views[0]
    before, after = (
        (first.before, first.after) if first.before else (str(folder / "photo.jpg"), first.frames[-1])
    )
    if first.frames:
        before = first.frames[0]
    for name, path in (("before", before), ("after", after)):
        side = Image.open(path).convert("RGB")
        side.resize((SMALL, round(SMALL * side.height / side.width))).save(
            folder / f"{name}.webp", quality=78
        )
    relative = f"{folder.name}/"
    return {
        "tab": tab,
        "title": title,
        "photo": f"{relative}photo.jpg",
        "mask": f"{relative}mask.png" if cover else None,
        "boxes": [[round(float(v), 1) for v in box] for box in shot.boxes],
        "before": f"{relative}before.webp",
        "after": f"{relative}after.webp",
        "outcome": _relative(outcome),
    }


def _quiet(*_):
    """Progress that nobody watches."""


def shrink_files(folder: Path, outcome, task: str) -> None:
    """Make the files small, and remove those that nothing shows."""
    used = {Path(path) for view in outcome.views for path in (view.before, view.after, *view.frames) if path}
    ((label, path),) = outcome.downloads
    with Image.open(path) as image:  # a JPEG does for an example
        target = Path(path).with_suffix(".jpg")
        mark_edited(image.convert("RGB"), task).save(target, quality=80)
    outcome.downloads, outcome.result = [(label.replace("PNG", "JPEG"), str(target))], str(target)
    for path in folder.iterdir():
        if path.name in ("photo.jpg", "mask.png") or path == target:
            continue
        if path in used or parts.url(path) in outcome.extras:
            with Image.open(path) as image:
                image = image.convert("RGB")
            if path.suffix == ".webp":
                mark_edited(image, task)
            image.save(path, quality=72)
        else:
            path.unlink()


def _relative(outcome) -> dict:
    """An outcome with paths relative to the folder of the examples."""
    text = json.dumps(dataclasses.asdict(outcome))
    text = text.replace(parts.url(parts.EXAMPLES), "FOLDER").replace(f"{parts.EXAMPLES}/", "")
    return json.loads(text)


def card(entries: list[dict]) -> None:
    """The picture that links to the page show: static/card.jpg."""
    picture = Image.new("RGB", (1200, 630), "#0f766e")
    firsts = [next(entry for entry in entries if entry["tab"] == task) for task in parts.TASKS]
    for i, entry in enumerate(firsts):
        for row, side in enumerate(("before", "after")):
            with Image.open(parts.EXAMPLES / entry[side]) as image:
                image = image.convert("RGB")
            square = min(image.size)
            left = (image.width - square) // 2
            face = image.crop((left, 0, left + square, square)).resize((226, 226), Image.Resampling.LANCZOS)
            picture.paste(face, (15 + 236 * i, 120 + 240 * row))
    from PIL import ImageFont

    draw = ImageDraw.Draw(picture)
    draw.text((18, 60), "facesym", "white", ImageFont.load_default(58), anchor="lm")
    draw.text((290, 66), "face models built on symmetry", "#ccfbf1", ImageFont.load_default(32), anchor="lm")
    picture.save(parts.HERE / "static" / "card.jpg", quality=85)


def main() -> None:
    """Make all, or those of some tabs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tabs", nargs="*", help="make only these tabs' examples")
    tabs = parser.parse_args().tabs
    index = parts.EXAMPLES / "index.json"
    old = {entry["photo"]: entry for entry in (json.loads(index.read_text()) if index.exists() else [])}
    entries = []
    for number, plan in enumerate(PLAN):
        kept = old.get(f"{number:02d}-{plan[0]}/photo.jpg")
        entries.append(kept if kept and tabs and plan[0] not in tabs else make(number, *plan))
        print(*plan[:2], entries[-1]["outcome"]["numbers"])
    index.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    card(entries)


if __name__ == "__main__":
    main()
