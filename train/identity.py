"""Train LightCNN, the identity model, by distillation from the vectors of a larger one (cosine loss).

    accelerate launch train/identity.py --data FACES [FACES …] --steps 9000 --zoo identity-128

Each folder holds ``identity.npy`` (Nx128, one row per row of metadata.csv) beside its aligned images. If one has none,
the script computes dlib's vectors once and keeps them in the run's folder. `facesym evaluate identity` measures the
result.
"""

import hashlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from facesym import metrics
from facesym.data.faces import (
    Samples,
    affine_jitter,
    colour_jitter,
    downscale_blur,
    random_erasing,
    to_tensor,
)
from facesym.evaluation.identity import embed
from facesym.files import write_atomic
from facesym.models import LightCNN
from train.arguments import Parser, add_arguments, launch
from train.common import Run

VALIDATION = 500  # faces of the validation split on which the run validates


class IdentitySamples(Samples):
    """Augmented faces (rolled, shifted, mirrored, recoloured, blurred, partly erased) with the original's vector."""

    def __init__(self, faces, vectors, seed=0):
        super().__init__(faces, seed)
        self.vectors = vectors

    def sample(self, i, rng):
        image, size = self.faces.images[i], self.faces.size
        if rng.random() < 0.5:
            image = image[:, ::-1]
        matrix = affine_jitter(rng, size, degrees=8, scale=0.08, shift=0.03)
        image = cv2.warpAffine(
            np.ascontiguousarray(image), matrix, (size, size), borderMode=cv2.BORDER_REFLECT
        )
        if rng.random() < 0.3:
            image = downscale_blur(rng, image)
        if rng.random() < 0.1:
            image = np.repeat(image.mean(2, keepdims=True), 3, 2)
        image = colour_jitter(rng, image, 0.3)
        if rng.random() < 0.25:
            random_erasing(rng, image, 0.3)
        return {"image": to_tensor(image), "vector": torch.from_numpy(self.vectors[i])}


def load_vectors(faces, run):
    """Return a unit vector for each image of FaceFolders: Nx128 float32.

    They come from the folders' identity.npy if all have one; otherwise dlib computes them from the stored images and
    the run's folder keeps them.
    """
    folders = {row["path"].parent for row in faces.rows}
    if all((folder / "identity.npy").is_file() for folder in folders):
        tables = {folder: np.load(folder / "identity.npy") for folder in folders}
        vectors = np.stack([tables[row["path"].parent][row["index"]] for row in faces.rows])
    else:
        names = "\n".join(str(row["path"].resolve()) for row in faces.rows)
        file = run.out / f"dlib-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npy"
        if run.main and not file.is_file():
            found = []
            for row in tqdm(faces.rows, "dlib's vectors", disable=None):
                with Image.open(row["path"]) as image:
                    found.append(metrics.identity_descriptor(np.asarray(image.convert("RGB"))))
            buffer = io.BytesIO()
            np.save(buffer, np.stack(found))
            write_atomic(file, buffer.getvalue())
        run.accelerator.wait_for_everyone()
        vectors = np.load(file)
    return unit(vectors.astype(np.float32))


def unit(vectors):
    """Scale rows to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/identity", batch=64, lr=1e-3, warm_up=900)
    parser.add_argument("--steps", type=int, default=9000, help="training steps")
    args = parser.parse_args()
    run = Run(args)
    net = run.add(LightCNN())
    size = net.config.input_size
    optimizer = run.adam(net.parameters(), weight_decay=1e-2)
    average = run.average(net)
    run.restore()
    faces = run.faces(size)
    validation = run.faces(size, "val").spread(VALIDATION)
    vectors, wanted = (load_vectors(f, run) for f in (faces, validation))
    # Subtract the mean, which is common to all faces: the cosine of two strangers is then about 0.
    mean = vectors.mean(0)
    vectors, wanted = (unit(v - mean) for v in (vectors, wanted))
    net.train()
    for batch in run.batches(IdentitySamples(faces, vectors, args.seed), args.steps):
        with run.autocast():
            output = net(batch["image"])
        cosine = (output * batch["vector"]).sum(1).mean()
        terms = {"loss": 1 - cosine}
        run.update(optimizer, terms["loss"])
        run.average_step()
        if run.due(args.sample_every):
            with run.autocast():
                mine = embed(average, validation.images, run.device)
            terms["val"] = run.validated(average, 1 - (mine * wanted).sum(1).mean())
        run.log(**terms)
    run.export(
        average,
        task="identity",
        default=True,
        input_size=size,
        framing="ffhq",
        paper="X. Wu et al., A Light CNN for Deep Face Representation with Noisy Labels, IEEE TIFS 2018",
    )


if __name__ == "__main__":
    launch(main)
