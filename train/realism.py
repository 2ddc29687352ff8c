"""Train LSSL's mode (b), pose normalization: make faces that a mesh has turned to the front look real.

    accelerate launch train/realism.py --data PAIRS --mesh ict_face_model.npz --identity identity

The networks, losses and schedule are those of train/lssl.py. The condition map s is the turned photo (three channels);
the only attribute is whether an image is a simulation or a photo. PAIRS is a folder of `facesym prepare pairs`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facesym.data.lssl import LOOKS, RealismSamples
from facesym.data.simulate import FaceMesh
from train.arguments import Parser, add_arguments, launch
from train.common import Run
from train.lssl import LSSL, add_lssl_arguments


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/realism", batch=8, lr=1e-4, scheduler="constant-linear", warm_up=0)
    add_lssl_arguments(parser)
    parser.add_argument("--mesh", required=True, help="ict_face_model.npz (ICT FaceKit's face area)")
    args = parser.parse_args()
    run = Run(args)
    lssl = LSSL(run, groups=tuple(LOOKS.items()), side_channels=3)
    (folder,) = args.data
    pairs = run.pairs(folder)
    samples = RealismSamples(pairs, FaceMesh(args.mesh), args.size, args.seed)
    run.print(f"{len(samples.faces)} turned faces, {lssl.net.num_parameters()} parameters")
    held_out = RealismSamples(run.pairs(folder, "val"), samples.mesh, args.size)
    lssl.fit(samples, held_out)
    run.export(
        lssl.average, task="realism", input_size=args.size, framing="ffhq",
        training_data=sorted({row["set"] for row in pairs.rows}),
        paper="B. Bozorgtabar et al., Learn to synthesize and synthesize to learn, CVIU 2019",
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
