"""`train/evaluate.py normalize`: how frontal, neutral, sharp and like the person normalised faces are, on held-out
people.

    python train/evaluate.py normalize --london FACES/london --lfw FACES/lfw --mesh ict_face_model.npz --trunk ALEXNET \
        --models normalize -o results/normalize
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from facesym import metrics, zoo
from facesym.data.expressions import Expressions
from facesym.data.faces import read_metadata, to_tensor
from facesym.data.neutral import Neutral, neutral_faces
from facesym.data.shading import mean_smile_shading
from facesym.data.simulate import FaceMesh, frontalise
from facesym.errors import ImageError
from facesym.faces.landmarks import find_points
from facesym.faces.pose import head_pose
from facesym.pipelines.base import to_image

SIZE = 128
TURNED = 45  # degrees of yaw (metadata): what is turned further is left out


def add_parser(tasks):
    task = tasks.add_parser("normalize", help="frontal, neutral faces", description=normalize.__doc__)
    task.set_defaults(run=normalize)
    task.add_argument(
        "--london", type=Path, required=True, help="folder of aligned faces with view and expression"
    )
    task.add_argument(
        "--lfw", type=Path, required=True, help="folder of aligned faces with yaw, neutral and happy"
    )
    task.add_argument("--mesh", type=Path, required=True, help="ict_face_model.npz, for the classical row")
    task.add_argument(
        "--trunk", type=Path, required=True, help="torchvision's AlexNet features (safetensors)"
    )
    task.add_argument(
        "--models",
        nargs="+",
        default=["normalize"],
        metavar="[NAME=]MODEL",
        help="runs, model folders or zoo ids",
    )
    add_realism(task)
    task.add_argument("-n", type=int, default=200, help="pictures of LFW, at most (default 200)")
    task.add_argument("--grid", type=int, default=10, help="pictures in the grids (default 10)")
    task.add_argument("--seed", type=int, default=0)
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def add_realism(task):
    """The option for models of LSSL's mode (b)."""
    task.add_argument(
        "--realism",
        nargs="*",
        default=[],
        metavar="[NAME=]MODEL",
        help="runs of train/realism.py, model folders",
    )


@torch.inference_mode()
def realistic(net, picture, mesh):
    """LSSL's mode (b): an aligned crop (SxSx3 uint8) brought to the front by the mesh and made to look real.

    Args:
        net: AttributeGenerator of train/realism.py.

    Returns:
        SxSx3 uint8.
    """
    side = net.config.input_size
    photo = (
        cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) if len(picture) != side else picture
    )
    simulated, _ = frontalise(photo, find_points(Image.fromarray(photo)), mesh)
    image, beside = (to_tensor(x)[None] for x in (simulated, photo))
    made = to_image(net(image, (beside + 1) / 2, net.attributes({"look": "photo"})).image[0])
    return np.asarray(made.resize((len(picture),) * 2, Image.Resampling.LANCZOS))


class NeutralClassifier:
    """Neutral or smiling: a linear classifier on AlexNet's last convolution over the face, trained on training people:
    London's studio labels, and the surest of LFW's scores.

    Args:
        pictures: NxSxSx3 uint8. neutral: N bool. trunk: the AlexNet features' file.
    """

    def __init__(self, pictures, neutral, trunk):
        from train.trunk import alexnet_features

        self.net = alexnet_features(trunk)
        x, y = self._features(pictures), torch.from_numpy(np.asarray(neutral, np.float32))
        self.mean, self.std = x.mean(0), x.std(0) + 1e-3
        x = (x - self.mean) / self.std
        self.weight, self.bias = (
            torch.zeros(x.shape[1], requires_grad=True),
            torch.zeros(1, requires_grad=True),
        )
        share = y.mean()
        optimizer = torch.optim.LBFGS([self.weight, self.bias], max_iter=60, line_search_fn="strong_wolfe")

        def loss():
            optimizer.zero_grad()
            value = F.binary_cross_entropy_with_logits(
                x @ self.weight + self.bias, y, pos_weight=(1 - share) / share
            )
            value = value + 1e-2 * self.weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)

    @torch.no_grad()
    def _features(self, pictures):
        found = []
        side = pictures.shape[1]
        # The inner face, in which expressions are.
        top, bottom, left, right = (round(v * side) for v in (0.3, 0.95, 0.17, 0.83))
        for i in range(0, len(pictures), 64):
            x = torch.from_numpy(pictures[i : i + 64, top:bottom, left:right]).permute(0, 3, 1, 2) / 255
            x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
            found.append(F.adaptive_avg_pool2d(self.net(x), 4).flatten(1))
        return torch.cat(found)

    @torch.no_grad()
    def __call__(self, pictures):
        """N bool: whether each of NxSxSx3 pictures shows a neutral face."""
        x = (self._features(pictures) - self.mean) / self.std
        return (x @ self.weight + self.bias > 0).numpy()


def normalize(args):
    """Of each row's pictures: the distance of dlib's descriptors to the person's frontal neutral photo (London; of LFW
    to the photo itself) and the share within 0.6; the mean |yaw| by landmarks; the share that a classifier takes for
    neutral; PSNR, SSIM and LPIPS to the true photo (London); the inner face's sharpness over the true photo's (LFW:
    over the photo's own). Rows: the photos as they are; turned back by a mesh, what is hidden mirrored; these with the
    expression taken off by landmarks, as the targets of expressive web photos are made; the models; the mesh's faces
    made to look real by LSSL's mode (b)."""
    import facesym
    from train.evaluate import load_pictures, picture_grid, select_pictures
    from train.evaluate_rotate import named_models

    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    nets = {name: zoo.load(model) for name, model in named_models(args.realism).items()}
    mesh = FaceMesh(args.mesh)

    def studio(splits):
        rows = read_metadata(args.london, splits)
        return [row for row in rows if row.get("expression") and "profile" not in row["view"]]

    for folder, columns in ((args.london, {"view", "expression"}), (args.lfw, {"neutral", "happy", "yaw"})):
        missing = columns - read_metadata(folder, ("train", "val", "test"))[0].keys()
        if missing:
            raise ImageError(f"{folder}/metadata.csv has no column {', '.join(sorted(missing))}")
    bank = Expressions(args.london, mesh, SIZE, mean_smile_shading([args.lfw], SIZE))
    neutral = Neutral(bank, *neutral_faces([args.london, args.lfw], SIZE))
    known = studio(("train",)) + [row for row in read_metadata(args.lfw, ("train",)) if _sure(row)][:2000]
    judge = NeutralClassifier(load_pictures(known, SIZE)[0], [_neutral(row) for row in known], args.trunk)

    sets = {}
    rows = studio(("test",))
    front = {row["subject"]: i for i, row in enumerate(rows) if row["view"] == "front" and _neutral(row)}
    rows_kept = [i for i, row in enumerate(rows) if row["subject"] in front]
    pictures, _ = load_pictures(rows, SIZE)
    truth = pictures[[front[rows[i]["subject"]] for i in rows_kept]]
    for view, name in (("front", "London, front"), ("quarter", "London, three-quarter")):
        for expression in ("neutral", "smiling"):
            chosen = [
                k
                for k, i in enumerate(rows_kept)
                if view in rows[i]["view"] and rows[i]["expression"] == expression
            ]  # fmt: skip
            if chosen:
                sets[f"{name}, {expression}"] = (pictures[rows_kept][chosen], truth[chosen], True)
    wild = select_pictures([args.lfw], 0, None, args.seed)
    wild = [row for row in wild if abs(float(row["yaw"] or 90)) <= TURNED][: args.n]
    pictures = load_pictures(wild, SIZE)[0]
    sets["LFW"] = (pictures, pictures, False)
    checked = studio(("test",)) + [
        row for row in select_pictures([args.lfw], 0, None, args.seed) if _sure(row)
    ]
    told, wanted = judge(load_pictures(checked, SIZE)[0]), np.array([_neutral(row) for row in checked])
    accuracy, passing = float((told == wanted).mean()), float(told[wanted].mean())
    del pictures

    tables = {}
    for name, (pictures, truth, paired) in sets.items():
        wanted, own = metrics.identity_descriptor(truth), metrics.identity_descriptor(pictures)
        made = {"photo": pictures, "mesh and mirror": [], "mesh, mirror, landmarks": []}
        for picture in tqdm(pictures, desc=name, disable=None):
            frontal, points = frontalise(picture, find_points(Image.fromarray(picture)), mesh)
            made["mesh and mirror"].append(frontal)
            made["mesh, mirror, landmarks"].append(neutral.show(frontal, points)[0])
        for model, pipe in pipes.items():
            made[model] = [np.asarray(_result(pipe, picture)) for picture in pictures]
        for model, net in nets.items():
            made[model] = [realistic(net, picture, mesh) for picture in pictures]
        table = []
        for row, results in made.items():
            results = np.stack(results)
            descriptors = metrics.identity_descriptor(results)
            far = np.linalg.norm(descriptors - wanted, axis=1)
            from_input = np.linalg.norm(descriptors - own, axis=1)
            yaw = [abs(head_pose(metrics.dlib_landmarks(picture))[0]) for picture in results]
            line = {
                "row": row,
                "identity_distance": float(far.mean()),
                "same_person": float((far <= metrics.SAME_PERSON).mean()),
                "over_to_input": float((from_input > metrics.SAME_PERSON).mean()),
                "yaw": float(np.mean(yaw)),
                "neutral": float(judge(results).mean()),
                "sharpness": float(
                    (metrics.sharpness(results) / np.maximum(metrics.sharpness(truth), 1e-6)).mean()
                ),
            }
            if paired:
                line |= {
                    "psnr": float(metrics.psnr(results, truth).mean()),
                    "ssim": float(metrics.ssim(results, truth).mean()),
                    "lpips": float(metrics.lpips(results, truth, args.trunk).mean()),
                }
            table.append(line)
        tables[name] = table
        columns = {key: np.stack(values)[: args.grid] for key, values in made.items()}
        picture_grid(columns | ({"true photo": truth[: args.grid]} if paired else {})).save(
            args.out / f"grid-{name.lower().replace(', ', '-').replace(' ', '-')}.png"
        )
    settings = {
        "task": "normalize", "models": args.models, "realism": args.realism, "size": SIZE, "seed": args.seed,
        "pictures": {name: len(pictures) for name, (pictures, *_) in sets.items()},
        "neutral_classifier_accuracy": accuracy, "neutral_classifier_checked_on": len(checked),
        "neutral_photos_taken_for_neutral": passing,
    }  # fmt: skip
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": tables}, indent=1) + "\n"
    )
    for name, table in tables.items():
        _print(name, settings["pictures"][name], table)
    print(
        f"\nThe classifier of neutral faces is right in {accuracy:.1%} of {len(checked)} held-out photos, and takes "
        f"{passing:.1%} of the neutral ones for neutral."
    )
    print(f"\nwritten: {args.out}")
    return tables


def _result(pipe, picture):
    """A model's face for one aligned crop, at the net's own size, grey or colour."""
    crop = Image.fromarray(picture)
    size = pipe.net.size
    if size != crop.width:
        crop = crop.resize((size, size), Image.Resampling.LANCZOS)
    yaw, _ = head_pose(find_points(crop))
    return pipe.run(crop, crop, yaw)[0].resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _neutral(row):
    return row["expression"] == "neutral" if row.get("view") else float(row["neutral"]) > 0.5


def _sure(row):
    """Whether LFW's scores leave no doubt."""
    return (
        max(float(row["neutral"] or 0), float(row["happy"] or 0)) >= 0.95
        and abs(float(row["yaw"] or 90)) <= TURNED
    )


def _print(name, count, table):
    print(f"\n{name}: {count} pictures\n")
    names = {
        "identity_distance": ("identity distance", ".3f"), "same_person": ("same person", ".1%"),
        "over_to_input": ("over 0.6 to the input", ".1%"),
        "yaw": ("mean yaw", ".1f"), "neutral": ("neutral", ".1%"), "sharpness": ("sharpness", ".2f"),
        "psnr": ("PSNR", ".2f"), "ssim": ("SSIM", ".3f"), "lpips": ("LPIPS", ".3f"),
    }  # fmt: skip
    names = {key: value for key, value in names.items() if key in table[0]}
    print("| | " + " | ".join(title for title, _ in names.values()) + " |")
    print("|---" * (len(names) + 1) + "|")
    for line in table:
        print(
            f"| {line['row']} | "
            + " | ".join(f"{line[key]:{form}}" for key, (_, form) in names.items())
            + " |"
        )
