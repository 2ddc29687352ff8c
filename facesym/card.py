"""The model card (README.md on the Hub) of a model of the zoo, written from its entry in zoo.json."""

import re

from .files import WEIGHTS_NAME

# task -> (the Hub's name for it, what it is for, what it cannot do)
_TASKS = {
    "complete": (
        "image-to-image",
        "Fills in the hidden part of a face (sunglasses, a hand, a scratch, a mask) so that it matches the "
        "visible half of the same face.",
        "What is hidden in both halves of the face is invented: plausible, not true. Expect worse results on "
        "profiles, on very large holes, on children, and on anything else that is rare in the training data.",
    ),
    "symmetrize": (
        "image-to-image",
        "Makes a face symmetric, one with a palsy of one side included: the symmetric face of the same person.",
        "It works on faces seen from the front, up to about 30 degrees of yaw. Trained on simulated palsies, not on "
        "patients: no medical device, and no forecast of a treatment.",
    ),
    "rotate": (
        "image-to-image",
        "Makes up faces whose symmetry the latent sets exactly; and, fine-tuned on one photo, turns the head in it.",
        "Heads turn a little to either side, not to a profile; hair, glasses and what is behind the head are drawn "
        "roughly, and pictures are as small as the network's. Fitting takes a while on CPUs.",
    ),
    "normalize": (
        "image-to-image",
        "Makes a face frontal and neutral: the same person without expression, looking at the camera.",
        "For heads turned by up to 45 degrees. What the photo does not show (the far side of the face, a closed mouth "
        "behind a laugh) is mirrored or made up; hair and background behind a turned head are rough, and lips "
        "that had to close are soft. Trained on few real pairs, on simulated poses and expressions, and photos whose "
        "frontal, neutral picture was made by a face mesh, landmarks and, for open mouths, other people's lips.",
    ),
    "transfer": (
        "image-to-image",
        "Changes a face's expression, head pose or light on request; the person stays.",
        "For heads turned by up to 45 degrees. The teeth of a smile and the dark of a surprised mouth are drawn, soft "
        "and much the same for all. The far side of a turned face and what "
        "is behind the head are made up or smeared. "
        "Trained on simulated poses and expressions beside real ones, and on smiles whose picture without one was made "
        "by landmarks and other people's closed lips; the lights are simulated too.",
    ),
    "parse": (
        "image-segmentation",
        "Says of each pixel of an aligned face what it shows: background, skin, eyes and brows, nose, mouth or hair.",
        "Glasses, hands and hats have no class of their own. Trained on few labelled pictures of one kind, and beside "
        "them on classes guessed from landmarks.",
    ),
    "encode": (
        "image-feature-extraction",
        "Finds where in a symmetric GAN's latents a photo lies: the place where fitting it starts.",
        "Of use with the one generator that it was trained with.",
    ),
    "identity": (
        "image-feature-extraction",
        "Says how alike two aligned faces are: a unit vector a face, compared by its dot product. Made as a loss and a "
        "yardstick for the other models.",
        "Not made to identify or verify people in any use with consequences for them.",
    ),
    "landmarks": (
        "keypoint-detection",
        "Finds the 68 landmarks (iBUG order) of an aligned face.",
        "Trained on another network's labels: it cannot be better than they are. The error grows with the "
        "yaw; full profiles are not covered.",
    ),
}
_OTHER_TASK = ("image-to-image", "Works on aligned photos of faces.", "See the metrics below.")

_SETS = {
    "lfw": "Labeled Faces in the Wild (deep-funneled), for research",
    "scut": "SCUT-FBP5500, for research",
    "aaf": "All-Age-Faces, adults only, for research",
    "mebeauty": "MEBeauty, photos from free stock sites, no licence stated",
    "generated": "portraits made by a GAN, origin not stated, for research",
    "parsing": "FASSEG, faces with label maps (K. Khan, M. Mauro, R. Leonardi, ICIP 2015), for research; cite it",
    "london": "Face Research Lab London Set, CC BY 4.0, with the consent of the people shown",
}
# What the Hub knows by name; any other licence is "other" there, and spelled out.
_LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0"}


def model_card(entry: dict, name: str | None = None) -> str:
    """Markdown with the Hub's YAML front matter.

    Args:
        entry: the model's entry in zoo.json. Of a model that is not in the zoo licence, data, training and metrics
            may be missing.
        name: what `facesym.load` takes for it, in the example; default: its id.
    """
    from huggingface_hub import ModelCardData

    entry = {
        "license": "not stated",
        "training_data": [],
        "paper": None,
        "metrics": [],
        "framing": "ffhq",
    } | entry
    pipeline, purpose, limits = _TASKS.get(entry["task"], _OTHER_TASK)
    known_license = entry["license"].lower() in _LICENSES
    header = ModelCardData(
        license=_slug(entry["license"]) if known_license else "other",
        license_name=None if known_license else _slug(entry["license"]),
        library_name="facesym",
        pipeline_tag=pipeline,
        tags=list(filter(None, ["facesym", "face", "symmetry", entry["task"]])),
        model_name=entry["id"],
        eval_results=_eval_results(entry, pipeline),
    )
    sets = "\n".join(
        f"- {name}" + (f": {_SETS[name]}" if name in _SETS else "") for name in entry["training_data"]
    )
    paper = f" After: {entry['paper']}." if entry["paper"] else ""
    command = f"Made with:\n\n```\n{entry['train_command']}\n```\n\n" if "train_command" in entry else ""
    return f"""---
{header.to_yaml()}
---

# {entry["id"]}

{purpose}{paper}

`{entry["class"]}`, {entry["params"] / 1e6:.1f} M parameters stored as {entry["dtype"]}, for faces cut in \
the {entry["framing"].upper()} framing at {entry["input_size"]}×{entry["input_size"]}.

## How to use

```python
{_example(entry | {"id": name or entry["id"]})}
```

The network alone, without the steps from photo to face and back:

```python
from facesym.models import {entry["class"]}
net = {entry["class"]}.from_pretrained("{entry["repo_id"]}")
```

`{WEIGHTS_NAME}` has sha256 `{entry["sha256"]}`.

## Training data

{sets or "Not stated."}

{command}## How good it is

{_metrics(entry)}

## Limits

{limits}{" " + entry["limits"] if "limits" in entry else ""}

The people in the training sets are no fair sample of humanity: check the results on the people you want to
use it for.

## Ethics

Trained on sets that are meant to show adults, whose ages are mostly not known; do not use it on children. Use it on
photos of people who agree to it, not to deceive, not to identify anyone. A face edited with this model must be labelled
as edited by AI: facesym writes that into the metadata of the files it saves; leave it there.

## Terms

{entry["license"]}
"""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _example(entry: dict) -> str:
    if entry["task"] == "complete":
        return f"""import facesym
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg", mask="mask.png")  # white = what to fill in
out.images[0].save("done.png")"""
    if entry["task"] == "symmetrize":
        return f"""import facesym
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg")
out.images[0].save("symmetric.png")
print(out.asymmetry)"""
    if entry["task"] == "normalize":
        return f"""import facesym
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg")
out.images[0].save("frontal.png")"""
    if entry["task"] == "transfer":
        return f"""import facesym
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg", to=["happy", "dark"])
out.images[0].save("happy.png")"""
    if entry["task"] == "rotate":
        return f"""import facesym
from facesym.video import save_video
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg", yaw=(-20, 20), frames=25)
save_video(out.frames, "turning.mp4", "rotate")"""
    return f"""import facesym
net = facesym.zoo.load("{entry["id"]}")"""


def _metrics(entry: dict) -> str:
    if not entry["metrics"]:
        return "Not measured yet."
    parts = []
    for metric in entry["metrics"]:
        rows = _rows(metric["values"])
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        lines += [
            f"| {label} | " + " | ".join(str(row.get(name, "")) for name in names) + " |"
            for label, row in rows.items()
        ]
        parts.append(f"On {metric['data']}: {metric['protocol']}.\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _rows(values: dict) -> dict[str, dict]:
    """{name: number} is one row without a label; {label: {name: number}} has several. Both may be mixed."""
    plain = {name: value for name, value in values.items() if not isinstance(value, dict)}
    rows = {"": plain} if plain else {}
    return rows | {label: row for label, row in values.items() if isinstance(row, dict)}


def _eval_results(entry: dict, pipeline: str) -> list:
    """The model's own results; a row of its id has baselines beside it, which are not."""
    from huggingface_hub import EvalResult

    results = []
    for metric in entry["metrics"]:
        rows = _rows(metric["values"])
        rows = {"": rows[entry["id"]]} if entry["id"] in rows else rows
        for label, row in rows.items():
            for name, value in row.items():
                if name == "n":  # how many pictures: not a measure
                    continue
                results.append(
                    EvalResult(
                        task_type=pipeline,
                        dataset_type=_slug(metric["data"]),
                        dataset_name=metric["data"],
                        metric_type=name,
                        metric_name=f"{name} ({label})" if label else name,
                        metric_value=value,
                    )
                )
    return results
