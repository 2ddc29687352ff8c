"""Write a model card (README.md on the Hub) from the model's entry in zoo.json."""

import re

from .files import WEIGHTS_NAME

# task -> (the Hub's pipeline tag, what the model does, its limits)
_TASKS = {
    "complete": (
        "image-to-image",
        "Completes the missing part of a face (behind sunglasses, a hand, a scratch, a mask) so that it matches the "
        "visible half of the same face.",
        "Anything that neither half of the face shows is invented: plausible, but not real. Results are worse for "
        "profiles, very large masks, and anything that is rare in the training data.",
    ),
    "symmetrize": (
        "image-to-image",
        "Makes a face symmetric, even one with a one-sided palsy, and preserves the identity.",
        "For near-frontal faces. The pipeline also symmetrizes heads turned by up to 35 degrees, but from 20 degrees "
        "on, the averted side is mostly the mirror image of the other. Not a medical device: it does not predict the "
        "outcome of a treatment.",
    ),
    "rotate": (
        "image-to-image",
        "Generates faces whose symmetry the latent controls exactly. Fine-tuned on a photo, it turns the head in it.",
        "Heads turn a little to either side, but not to a profile. Hair, glasses and the background behind the head "
        "lack detail. The network draws small faces; the pipeline's frames have twice its size and the photo's own "
        "detail where it stays visible. A fit takes about half a minute on a CPU.",
    ),
    "normalize": (
        "image-to-image",
        "Makes a face frontal and neutral and preserves the identity.",
        "For heads turned by up to 45 degrees. Parts that the photo does not show (the far side of the face, a closed "
        "mouth) are mirrored or invented. Hair and background behind a turned head lack detail. The network alone "
        "leaves laughing mouths half open; the pipeline first closes them with the transfer model.",
    ),
    "transfer": (
        "image-to-image",
        "Changes the expression, head pose or lighting of a face and preserves the identity.",
        "For heads turned by up to 45 degrees. The teeth of a smile and the inside of a surprised mouth are invented. "
        "The far side of a turned face and the background behind the head are invented or smeared.",
    ),
    "mouth": (
        "image-to-image",
        "Adds detail to a blurry mouth: teeth with lines, lips with an edge. It refines the mouths of expressions that "
        "a transfer model draws.",
        "The detail is plausible, not the person's own. For crops of mouths, about 1.7 times as wide as the mouth.",
    ),
    "occlusion": (
        "image-segmentation",
        "Labels what covers an aligned face: glasses, sunglasses, a mask, an object, hair, or damage of the photo.",
        "Thin frames, hands and fine scratches are often found in part or not at all.",
    ),
    "parse": (
        "image-segmentation",
        "Labels each pixel of an aligned face as background, skin, eyes and brows, nose, mouth, hair or clothes.",
        "Glasses, hands and hats have no class.",
    ),
    "encode": (
        "image-feature-extraction",
        "Predicts the latent of a photo for a symmetric GAN, as the starting point of a fit.",
        "Works only with the generator that it was trained with.",
    ),
    "identity": (
        "image-feature-extraction",
        "Measures the similarity of two aligned faces: it maps each face to a unit vector, and the dot product of two "
        "vectors is their similarity. Trained as a loss and a metric for the other models.",
        "Do not use it to identify or verify people where this has consequences for them.",
    ),
    "landmarks": (
        "keypoint-detection",
        "Predicts the 68 landmarks (iBUG order) of an aligned face.",
        "The error grows with the yaw; full profiles are not covered.",
    ),
}
_OTHER_TASK = ("image-to-image", "Works on aligned photos of faces.", "See the metrics below.")

# task -> how the training data of the zoo's models was made
_TRAINED = {
    "symmetrize": "Trained on simulated palsies, not on patients.",
    "normalize": "The training data has few real pairs; the others are simulated poses and expressions, and photos "
    "whose frontal, neutral target was synthesized from a face mesh, landmarks and, for open mouths, the lips of other "
    "people.",
    "transfer": "The training data combines real with simulated poses and expressions, smiles whose neutral "
    "counterpart was synthesized from landmarks and closed lips of other people, and simulated lighting.",
    "occlusion": "Trained on drawn occlusions.",
    "parse": "Trained on a few labelled images from one dataset, on classes estimated from landmarks, and on people "
    "cut out of plain backgrounds and put in front of others.",
    "landmarks": "Trained on the labels of another network and therefore no better than those.",
}

# The datasets of the zoo's models. Folders of other models may have the same names.
_SETS = {
    "lfw": "Labeled Faces in the Wild (deep-funneled), for research",
    "scut": "SCUT-FBP5500, for research",
    "aaf": "All-Age-Faces, only faces labelled as adults, for research",
    "mebeauty": "MEBeauty, photos from free stock sites, no licence stated",
    "generated": "portraits generated by a GAN, origin not stated, for research",
    "parsing": "FASSEG, faces with label maps (K. Khan, M. Mauro, R. Leonardi, ICIP 2015), for research; cite it",
    "london": "Face Research Lab London Set, CC BY 4.0, with the consent of the people shown",
    "flickr": "FFHQ, photos of adults from Flickr, CC BY-NC-SA 4.0",
    "stylegan": "portraits generated by StyleGAN, CC BY-NC 4.0",
    "omi": "One Million Impressions, generated portraits rated by people, CC BY-NC-SA 4.0",
    "amfd": "American Multiracial Face Database, volunteers, neutral and smiling, CC BY 4.0",
}
# Licences known to the Hub; all others are listed as "other", with their text.
_LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0"}

_KNOWN = """\
The datasets are meant to show adults only, but most do not state ages. Images that show, or may show, minors have been
excluded since 28 November 2026. The datasets do not represent all groups of people equally: check the results on the
people you want to use the model for."""
_UNKNOWN = """\
facesym does not know this data: whoever trained the model is responsible for using only images of adults who agree to
it. Check the results on the people you want to use the model for."""

_CARD = """---
{header}
---

# {id}

{purpose}{paper}

`{class}`, {millions:.1f} M parameters stored as {dtype}, for {framing} of {input_size}×{input_size} pixels.

## How to use

```python
{example}
```

To load only the network, without face alignment and pasting:

```python
from facesym.models import {class}

net = {class}.from_pretrained("{source}")
```

SHA-256 of `{weights}`: `{sha256}`.

## Intended use

Use the model to restore photos and for research on faces, with photos of adults who agree to it. Do not use it to find
out what someone looks like, to identify anyone, for diagnosis, as evidence, or to deceive.

Faces edited with this model must be labelled as edited by AI. facesym tags the files it saves in their metadata; keep
the tag, and say it in words where metadata may be lost.

## Training data

{sets}

{people}

{command}## Results

{results}

## Limits

{limits}

## Licence

{license}
"""


def model_card(entry: dict, name: str | None = None, *, in_zoo: bool = False) -> str:
    """Write a card: Markdown with the Hub's YAML front matter.

    Args:
        entry: the model's entry in zoo.json. For a model outside the zoo, licence, data, training command and metrics
            may be missing.
        name: argument of `facesym.load` in the example; default: the model's id.
        in_zoo: whether the model is in zoo.json, and its data therefore that of docs/data.md. The names in the data of
            other models are those of folders, about which the card says nothing.
    """
    missing: dict = {
        "license": "not stated",
        "training_data": [],
        "paper": None,
        "metrics": [],
        "framing": "ffhq",
    }
    entry = missing | entry
    pipeline, purpose, limits = _TASKS.get(entry["task"], _OTHER_TASK)
    limits = [limits, _TRAINED.get(entry["task"]) if in_zoo else None, entry.get("limits")]
    data = {name: _SETS.get(name) if in_zoo else None for name in entry["training_data"]}
    command = f"Trained with:\n\n```\n{entry['train_command']}\n```\n\n" if "train_command" in entry else ""
    text = {
        "header": _header(entry, pipeline),
        "purpose": purpose,
        "paper": f" After: {entry['paper']}." if entry["paper"] else "",
        "millions": entry["params"] / 1e6,
        "framing": "crops of mouths" if entry["framing"] == "mouth" else "FFHQ-aligned face crops",
        "example": _example(entry | {"id": name or entry["id"]}),
        "source": entry["id"] if in_zoo else entry["repo_id"],
        "weights": WEIGHTS_NAME,
        "sets": "\n".join(f"- {name}: {terms}" if terms else f"- {name}" for name, terms in data.items())
        or "Not stated.",
        "people": _KNOWN if data and all(data.values()) else _UNKNOWN,
        "command": command,
        "results": _metrics(entry),
        "limits": " ".join(filter(None, limits)),
    }
    return _CARD.format_map(entry | text)


def _header(entry: dict, pipeline: str) -> str:
    """Write the YAML front matter for the Hub."""
    from huggingface_hub import ModelCardData

    known_license = entry["license"].lower() in _LICENSES
    data = ModelCardData(
        license=_slug(entry["license"]) if known_license else "other",
        license_name=None if known_license else _slug(entry["license"]),
        library_name="facesym",
        pipeline_tag=pipeline,
        tags=list(filter(None, ["facesym", "face", "symmetry", entry["task"]])),
        model_name=entry["id"],
        eval_results=_eval_results(entry, pipeline),
    )
    return data.to_yaml()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


# task -> (line before the call, options of the call, lines after it)
_EXAMPLES = {
    "complete": ("", ', mask="mask.png")  # white = missing', 'out.save("done.png")'),
    "symmetrize": ("", ")", 'out.save("symmetric.png")\nprint(out.asymmetry[0]["overall"])'),
    "normalize": ("", ")", 'out.save("frontal.png")'),
    "transfer": ("", ', to=["happy", "dark"])', 'out.save("happy.png")'),
    "rotate": (
        "from facesym.video import save_video\n",
        ", yaw=(-20, 20), frames=25)",
        'save_video(out.frames[0], "turning.mp4", "rotate")',
    ),
}


def _example(entry: dict) -> str:
    if entry["task"] not in _EXAMPLES:
        return f'import facesym\n\nnet = facesym.zoo.load("{entry["id"]}")'
    before, options, after = _EXAMPLES[entry["task"]]
    return f"""import facesym
{before}
pipe = facesym.load("{entry["id"]}")
out = pipe("photo.jpg"{options}
{after}"""


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
    """Split values into rows: {name: number} is one unlabelled row, {label: {name: number}} a labelled one."""
    plain = {name: value for name, value in values.items() if not isinstance(value, dict)}
    rows = {"": plain} if plain else {}
    return rows | {label: row for label, row in values.items() if isinstance(row, dict)}


def _eval_results(entry: dict, pipeline: str) -> list:
    """Return the results of the model itself. If a row has its id, the other rows are baselines and are omitted."""
    from huggingface_hub import EvalResult

    results = []
    for metric in entry["metrics"]:
        rows = _rows(metric["values"])
        rows = {"": rows[entry["id"]]} if entry["id"] in rows else rows
        for label, row in rows.items():
            for name, value in row.items():
                if name == "n":  # the number of images is not a metric
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
