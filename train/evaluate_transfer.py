"""`train/evaluate.py transfer`: whether transferred faces show what was asked and are still the person, on held-out
people.

    python train/evaluate.py transfer --faces FACES/scut FACES/mebeauty FACES/lfw --trunk ALEXNET \
        --mesh ict_face_model.npz --models transfer -o results/transfer
"""

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm

from facesym import metrics, zoo
from facesym.data.attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from facesym.data.faces import FaceFolders, to_tensor
from facesym.data.simulate import FaceMesh, frontalise, turn_to
from facesym.faces.geometry import face_region
from facesym.faces.landmarks import find_points
from facesym.faces.pose import head_pose
from facesym.models.lssl import GROUPS
from train.common import bf16_is_fast
from train.evaluate_normalize import add_realism, realistic
from train.lssl_data import NAMES, AttributeSamples, places

SIZE, JUDGED = 128, 64  # sides of the pictures, and of what the classifier is shown
ANGLES = (15, 30, 45)  # of Table 3; each with what is within 7.5 degrees of it


def add_parser(tasks):
    task = tasks.add_parser(
        "transfer", help="expression, pose and light changed", description=transfer.__doc__
    )
    task.set_defaults(run=transfer)
    task.add_argument(
        "--faces",
        nargs="+",
        type=Path,
        required=True,
        help="folders of aligned faces with yaw and expression",
    )
    task.add_argument("--trunk", type=Path, required=True, help="torchvision's AlexNet features, for LPIPS")
    task.add_argument("--mesh", type=Path, required=True, help="ict_face_model.npz, for the classical row")
    task.add_argument(
        "--models",
        nargs="+",
        default=["transfer"],
        metavar="[NAME=]MODEL",
        help="runs, model folders or zoo ids",
    )
    add_realism(task)
    task.add_argument("--judge", type=Path, help="a classifier of an earlier run (its judge.pt)")
    task.add_argument("--judge-steps", type=int, default=1500, help="of its training (default 1500)")
    task.add_argument("-n", type=int, default=100, help="pictures at most (default 100)")
    task.add_argument("--turned", type=int, default=300, help="turned pictures, at most (default 300)")
    task.add_argument("--grid", type=int, default=8, help="pictures in the grid (default 8)")
    task.add_argument("--seed", type=int, default=0)
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


class AttributeClassifier:
    """A ResNet-18 (torchvision's) that tells expression, pose and light, trained from nothing on training people's
    photos, mirrored, jittered and relit as train/lssl.py has them. Not the network that LSSL was trained with."""

    def __init__(self):
        self.net = metrics._import_torchvision().models.resnet18(num_classes=int(places()[-1]))

    def train(self, folders, steps, seed=0, batch=32):
        """Cross-entropy of each group; rare expressions count as much as frequent ones."""
        torch.manual_seed(seed)
        faces = FaceFolders(folders, SIZE)
        found = [expression_of(row, GROUPS["expression"]) for row in faces.rows]
        counts = np.bincount([k for k in found if k != UNKNOWN], minlength=len(GROUPS["expression"]))
        weights = torch.from_numpy(counts.sum() / np.maximum(counts, 1) / len(counts)).float()
        self.net.train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(self.net.parameters(), weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        bar = tqdm(total=steps, desc="classifier", disable=None)
        samples = AttributeSamples(faces, seed)
        for data in DataLoader(samples, batch, sampler=range(steps * batch), num_workers=1):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast()):
                logits, loss = self._logits(data["image"]).float(), 0
            for group, (a, b) in enumerate(pairwise(places())):
                known = data["known"][:, a] > 0
                if known.any():
                    loss = loss + F.cross_entropy(
                        logits[known, a:b],
                        data["own"][known, a:b].argmax(1),
                        weights if NAMES[group] == "expression" else None,
                    )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
        bar.close()
        self.net.eval()
        return self

    def _logits(self, image):
        image = F.interpolate(image, (JUDGED, JUDGED), mode="bilinear", antialias=True)
        return self.net(image.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def __call__(self, pictures, group):
        """The index of each of NxSxSx3 uint8 pictures' attribute in a group (by name)."""
        a, b = places()[NAMES.index(group) :][:2]
        return np.concatenate(
            [
                self._logits(torch.stack([to_tensor(x) for x in pictures[i : i + 64]]))[:, a:b]
                .argmax(1)
                .numpy()
                for i in range(0, len(pictures), 64)
            ]
        )


def transfer(args):
    """Held-out faces, each given each attribute that it has not: the share in which a classifier sees it (beside its
    share of right answers on held-out photos); the distance of dlib's descriptors to the photo's and the share within
    0.6; the inner face's sharpness over the photo's; for expressions LPIPS of what is outside the face; for poses the
    distance of the measured yaw from the one asked for. Rows: the photos as they are; for poses, a mesh that turns
    them; the models. And Table 3: how often expressions of turned faces are told before and after they are brought to
    the front."""
    import facesym
    from train.evaluate import load_pictures, picture_grid, select_pictures
    from train.evaluate_rotate import named_models

    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    nets = {name: zoo.load(model) for name, model in named_models(args.realism).items()}
    mesh, judge = FaceMesh(args.mesh), AttributeClassifier()
    if args.judge:
        judge.net.load_state_dict(torch.load(args.judge, weights_only=True))
        judge.net.eval()
    else:
        judge.train(args.faces, args.judge_steps, args.seed)
        torch.save(judge.net.state_dict(), args.out / "judge.pt")

    every = select_pictures(args.faces, 0, None, args.seed)
    rows = [row for row in every if pose_of(_yaw(row), tuple(POSES)) != UNKNOWN]
    real = _real_accuracy(judge, rows, args.seed, load_pictures)
    chosen = [row for row in rows if abs(_yaw(row)) <= 30][: args.n]
    pictures = load_pictures(chosen, SIZE)[0]
    own = [(_expression(row), pose_of(_yaw(row), tuple(POSES)), 0) for row in chosen]
    truth, sharp = metrics.identity_descriptor(pictures), metrics.sharpness(pictures)

    ways = [(group, name) for group, names in GROUPS.items() for name in names]
    made = {"photo": dict.fromkeys(ways, pictures), "mesh": {}}
    for way in ways:
        if way[0] == "pose":
            made["mesh"][way] = np.stack(
                [turn_to(x, find_points(Image.fromarray(x)), mesh, POSES[way[1]])[0] for x in pictures]
            )
    for name, pipe in pipes.items():
        found = [
            _run(pipe, picture, [{group: value} for group, value in ways])
            for picture in tqdm(pictures, desc=name, disable=None)
        ]
        made[name] = {way: np.stack([faces[k] for faces in found]) for k, way in enumerate(ways)}

    table = []
    for name, results in made.items():
        for (group, value), faces in results.items():
            wanted = GROUPS[group].index(value)
            asked = [i for i, has in enumerate(own) if has[NAMES.index(group)] != wanted]
            if not asked:
                continue
            faces = faces[asked]
            far = np.linalg.norm(metrics.identity_descriptor(faces) - truth[asked], axis=1)
            line = {
                "row": name,
                "group": group,
                "attribute": value,
                "pictures": len(asked),
                "accuracy": float((judge(faces, group) == wanted).mean()),
                "identity_distance": float(far.mean()),
                "same_person": float((far <= metrics.SAME_PERSON).mean()),
                "sharpness": float((metrics.sharpness(faces) / np.maximum(sharp[asked], 1e-6)).mean()),
            }
            if group == "expression":
                line["lpips_outside"] = float(_lpips_outside(faces, pictures[asked], args.trunk).mean())
            if group == "pose":
                yaw = np.array([head_pose(metrics.dlib_landmarks(face))[0] for face in faces])
                line["yaw_error"] = float(np.abs(yaw - POSES[value]).mean())
            table.append(line)
    means = [
        _mean([line for line in table if line["row"] == name and line["group"] == group])
        for group in GROUPS
        for name in made
        if any(line["row"] == name and line["group"] == group for line in table)
    ]
    turned = _table_3(judge, rows, pipes, nets, mesh, args.turned, load_pictures)

    for name in pipes:
        columns = {"photo": pictures} | {value: made[name][group, value] for group, value in ways}
        picture_grid({key: value[: args.grid] for key, value in columns.items()}).save(
            args.out / f"grid-{name}.png"
        )
    settings = {
        "task": "transfer", "models": args.models, "realism": args.realism,
        "faces": [folder.name for folder in args.faces], "size": SIZE, "seed": args.seed, "pictures": len(pictures),
        "people": len({(row["set"], row["subject"]) for row in chosen}),
        "classifier": str(args.judge or f"{args.judge_steps} steps"),
    }  # fmt: skip
    results = {"real": real, "groups": means, "attributes": table, "turned": turned}
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": results}, indent=1) + "\n"
    )
    _print(settings, results)
    print(f"\nwritten: {args.out}")
    return results


def _yaw(row):
    return float(row.get("yaw") or "nan")


def _expression(row):
    return expression_of(row, GROUPS["expression"])


def _run(pipe, picture, ways):
    """A model's faces for one aligned crop, SIZExSIZEx3 uint8."""
    crop = Image.fromarray(picture)
    side = pipe.net.config.input_size
    if side != crop.width:
        crop = crop.resize((side, side), Image.Resampling.LANCZOS)
    faces = pipe.run(crop, crop, ways)
    return [np.asarray(face.resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for face in faces]


def _lpips_outside(faces, pictures, trunk):
    """LPIPS between pictures that differ only outside the photo's face (grown by a twentieth of the side)."""
    grown = np.ones((SIZE // 10 + 1,) * 2, np.uint8)
    inside = np.stack(
        [cv2.dilate(face_region(find_points(Image.fromarray(x)), SIZE), grown) > 0 for x in pictures]
    )
    return metrics.lpips(np.where(inside[..., None], pictures, faces), pictures, trunk)


def _real_accuracy(judge, rows, seed, load_pictures):
    """Of the classifier on held-out photos, of each group: the mean of its attributes', and each one's."""
    rng = np.random.default_rng(seed)
    pictures = load_pictures(rows, SIZE)[0]
    labels = {
        "expression": np.array([_expression(row) for row in rows]),
        "pose": np.array([pose_of(_yaw(row), tuple(POSES)) for row in rows]),
        "light": rng.integers(len(GROUPS["light"]), size=len(rows)),
    }
    found = {}
    for group, names in GROUPS.items():
        shown = pictures
        if group == "light":
            shown = np.stack(
                [
                    relight(rng, x, names[k]).round().astype(np.uint8)
                    for x, k in zip(pictures, labels["light"])
                ]
            )
        told = judge(shown, group)
        each = {
            name: float((told == k)[labels[group] == k].mean())
            for k, name in enumerate(names)
            if (labels[group] == k).any()
        }
        found[group] = {"mean": float(np.mean(list(each.values())))} | each
    return found


def _table_3(judge, rows, pipes, nets, mesh, count, load_pictures):
    """The share of neutral, happy and surprised faces that are told as such, by how far they are turned: as they are,
    turned to the front by the mesh and filled in by mirroring, by the models ("frontal"), and by mode (b)'s."""
    table = []
    for angle in ANGLES:
        chosen = [r for r in rows if abs(abs(_yaw(r)) - angle) <= 7.5 and _expression(r) != UNKNOWN][:count]
        if not chosen:
            continue
        pictures, labels = load_pictures(chosen, SIZE)[0], np.array([_expression(row) for row in chosen])
        made = {
            "photo": pictures,
            "mesh and mirror": np.stack(
                [frontalise(x, find_points(Image.fromarray(x)), mesh)[0] for x in pictures]
            ),
        }
        for name, pipe in pipes.items():
            made[name] = np.stack([_run(pipe, x, [{"pose": "frontal"}])[0] for x in pictures])
        for name, net in nets.items():
            made[name] = np.stack([realistic(net, x, mesh) for x in pictures])
        for name, faces in made.items():
            right = judge(faces, "expression") == labels
            table.append(
                {"row": name, "angle": angle, "pictures": len(chosen), "accuracy": float(right.mean())}
            )
    return table


def _mean(lines):
    keys = [key for key, value in lines[0].items() if isinstance(value, float)]
    return {key: lines[0][key] for key in ("row", "group")} | {
        key: float(np.mean([line[key] for line in lines])) for key in keys
    }


def _print(settings, results):
    print(f"\n{settings['pictures']} held-out pictures of {settings['people']} people\n")
    names = {
        "accuracy": ("accuracy", ".1%"), "identity_distance": ("identity distance", ".3f"),
        "same_person": ("same person", ".1%"), "sharpness": ("sharpness", ".2f"),
        "lpips_outside": ("LPIPS outside the face", ".3f"), "yaw_error": ("yaw error", ".1f"),
    }  # fmt: skip
    print("| | " + " | ".join(title for title, _ in names.values()) + " |")
    print("|---" * (len(names) + 1) + "|")
    for group in GROUPS:
        print(
            f"| {group}: held-out photos | {results['real'][group]['mean']:.1%} |" + " |" * (len(names) - 1)
        )
        for line in results["groups"]:
            if line["group"] == group:
                cells = [f"{line[key]:{form}}" if key in line else "" for key, (_, form) in names.items()]
                print(f"| {group}: {line['row']} | " + " | ".join(cells) + " |")
    angles = sorted({line["angle"] for line in results["turned"]})
    print("\nExpressions told, of faces turned by " + ", ".join(f"±{angle}°" for angle in angles) + "\n")
    print("| | " + " | ".join(f"±{angle}°" for angle in angles) + " |")
    print("|---" * (len(angles) + 1) + "|")
    for name in dict.fromkeys(line["row"] for line in results["turned"]):
        shares = {line["angle"]: line["accuracy"] for line in results["turned"] if line["row"] == name}
        print(f"| {name} | " + " | ".join(f"{shares[angle]:.1%}" for angle in angles) + " |")
