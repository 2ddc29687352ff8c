"""The training scripts as a user starts them: two processes, a stop, a resume, the export."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from facesym.data.faces import FaceFolders, left_out, read_metadata
from facesym.data.masks import random_mask
from facesym.faces.geometry import FLIP_68
from facesym.models import LightCNN, SymmetricEncoder, SymmetricGenerator, SymmetrizerVAE
from facesym.models.symmfcnet import SymmFCNet

ROOT = Path(__file__).resolve().parents[1]


def template(size):
    """68 landmarks of a schematic face, in pixels."""
    t = np.linspace(0, 1, 17)
    jaw = np.stack([0.2 + 0.6 * t, 0.45 + 0.45 * np.sin(np.pi * t)], 1)
    brow = np.stack([np.linspace(0.26, 0.44, 5), np.full(5, 0.36)], 1)
    nose = np.concatenate(
        [
            np.stack([np.full(4, 0.5), np.linspace(0.42, 0.56, 4)], 1),
            np.stack([np.linspace(0.44, 0.56, 5), np.full(5, 0.6)], 1),
        ]
    )
    angle = np.linspace(np.pi, -np.pi, 7)[:6]
    eye = np.stack([0.35 + 0.06 * np.cos(angle), 0.43 - 0.025 * np.sin(angle)], 1)
    angle = np.linspace(np.pi, -np.pi, 13)[:12]
    lips = np.stack([0.5 + 0.12 * np.cos(angle), 0.74 - 0.05 * np.sin(angle)], 1)
    angle = np.linspace(np.pi, -np.pi, 9)[:8]
    inner = np.stack([0.5 + 0.09 * np.cos(angle), 0.74 - 0.02 * np.sin(angle)], 1)
    half = np.zeros((68, 2))
    half[:17], half[17:22], half[27:36], half[36:42], half[48:60], half[60:] = (
        jaw,
        brow,
        nose,
        eye,
        lips,
        inner,
    )
    mirrored = half[FLIP_68] * [-1, 1] + [1, 0]
    half[22:27], half[42:48] = mirrored[22:27], mirrored[42:48]
    return (half * size).astype(np.float32)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder of twelve schematic faces and one of four masks, in the formats of `facesym prepare`."""
    root, size = tmp_path_factory.mktemp("data"), 64
    rng = np.random.default_rng(0)
    faces, masks = root / "faces", root / "masks"
    faces.mkdir(), masks.mkdir()
    rows, points = ["file_name,subject,split,yaw"], []
    for i in range(12):
        landmarks = template(size) + rng.normal(0, 1, 2)
        picture = Image.new("RGB", (size, size), tuple(rng.integers(0, 255, 3).tolist()))
        draw = ImageDraw.Draw(picture)
        draw.polygon([tuple(p) for p in landmarks[:17]], fill=tuple(rng.integers(100, 255, 3).tolist()))
        for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
            draw.polygon([tuple(p) for p in landmarks[part]], fill=(30, 20, 20))
        picture.save(faces / f"{i}.webp")
        rows.append(f"{i}.webp,{i},{'train' if i < 8 else 'val' if i < 10 else 'test'},{i}")
        points.append(landmarks)
    (faces / "metadata.csv").write_text("\n".join(rows))
    np.save(faces / "landmarks.npy", np.stack(points).astype(np.float32))
    for i in range(4):
        hole = np.zeros((64, 64), np.uint8)
        hole[10 * i : 10 * i + 20, 20:44] = 255
        Image.fromarray(hole).save(masks / f"{i}.png")
    (masks / "metadata.csv").write_text(
        "file_name,hole_share,split\n" + "\n".join(f"{i}.png,0.1,train" for i in range(4))
    )
    return faces, masks


def command(script, folders, out, *arguments, processes=1):
    if processes == 1:
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--cpu"]
    else:  # accelerate's launcher wants MPI for several processes on CPUs; torch's own does without
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        launch += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    return [
        *launch, str(ROOT / "train" / script), "--data", str(folders[0]), "--out", str(out), "--precision", "no",
        "--batch", "2", "--workers", "0", *map(str, arguments),
    ]  # fmt: skip


SYMMFC = ["--preset", "tiny", "--size", "64", "--sample-every", "100", "--lr", "1e-3"]


def train(*args, **kwargs):
    # The loopback interface by name: the machine's own name may lead nowhere.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    done = subprocess.run(
        command(*args, **kwargs), capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def stats(out):
    return [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]


def test_all_three_phases_and_a_loadable_model(folders, tmp_path):
    text = train("symmfc.py", folders, tmp_path, *SYMMFC, "--masks", folders[1], "--phase-steps", 1, 1, 2)
    lines = stats(tmp_path)
    assert [line["phase"] for line in lines] == [1, 2, 3, 3]
    assert "landmark" in lines[0] and "absolute" not in lines[0]
    assert "absolute" in lines[1] and "landmark" not in lines[1]
    assert {"landmark", "absolute", "symmetry", "adversarial", "critic", "critic_parts"} <= set(lines[3])
    assert "images/s" in text and "ETA" in text
    net = SymmFCNet.from_pretrained(tmp_path / "model")
    assert net.config.input_size == 64
    assert list((tmp_path / "samples").glob("*.png"))


def test_two_processes_resumed_are_one_run_uninterrupted(folders, tmp_path):
    """Two steps in one go, and one step, a new start, another step: the same losses and the same weights."""
    options = [*SYMMFC, "--phase-steps", 0, 0, 2, "--save-every", 1]
    assert "2 process(es)" in train("symmfc.py", folders, tmp_path / "whole", *options, processes=2)
    # The stop: the checkpoint of step 1 of the same schedule.
    train("symmfc.py", folders, tmp_path / "parts", *options, processes=2)
    for later in (tmp_path / "parts" / "checkpoints" / "step-0000002", tmp_path / "parts" / "model"):
        for file in later.iterdir():
            file.unlink()
        later.rmdir()
    (tmp_path / "parts" / "stats.jsonl").unlink()
    text = train("symmfc.py", folders, tmp_path / "parts", *options, "--resume", processes=2)
    assert "at step 1" in text
    whole, parts = stats(tmp_path / "whole"), stats(tmp_path / "parts")
    assert [line["step"] for line in parts] == [2]
    for name, value in whole[1].items():
        if name not in ("images_per_s",):
            assert parts[0][name] == pytest.approx(value, rel=1e-4), name
    one, other = (
        SymmFCNet.from_pretrained(tmp_path / run / "model").state_dict() for run in ("whole", "parts")
    )
    assert all((one[k].float() - other[k].float()).abs().max() < 1e-3 for k in one)


def test_a_stop_saves_and_leaves_no_half_checkpoint(folders, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [*SYMMFC, "--phase-steps", 0, 0, 100000, "--workers", 1]
    process = subprocess.Popen(
        command("symmfc.py", folders, tmp_path, *arguments),
        stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("step 2/"):
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to every process of the group
            break
    rest = process.stdout.read()
    process.wait(60)
    assert "go on with --resume" in rest
    deadline = time.monotonic() + 20
    while not (found := list((tmp_path / "checkpoints").glob("*"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [path.name.startswith("step-") for path in found] == [True]


def test_the_plain_net_and_landmarks_train(folders, tmp_path):
    train("symmfc.py", folders, tmp_path / "plain", *SYMMFC, "--ablation", "plain", "--phase-steps", 0, 1, 1)
    assert "landmark" not in stats(tmp_path / "plain")[1]
    text = train("landmarks.py", folders, tmp_path / "landmarks", "--steps", 2, "--width", 8)
    assert "held-out error" in text


def test_identity_trains_on_given_vectors_and_on_dlibs(folders, tmp_path):
    pytest.importorskip("dlib")
    text = train("identity.py", folders, tmp_path / "dlib", "--steps", 2)  # the folder has no identity.npy
    assert "val_cosine" in text and list((tmp_path / "dlib").glob("dlib-*.npy"))
    faces = tmp_path / "faces"
    shutil.copytree(folders[0], faces)
    vectors = np.random.default_rng(0).normal(size=(12, 128)).astype(np.float16)
    np.save(faces / "identity.npy", vectors)
    train("identity.py", [faces], tmp_path / "given", "--steps", 2)
    assert not list((tmp_path / "given").glob("dlib-*.npy"))
    net = LightCNN.from_pretrained(tmp_path / "given" / "model")
    assert net.config.embedding == 128


def test_the_symmetrizers_stages_follow_each_other(folders, tmp_path):
    LightCNN(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)).save_pretrained(tmp_path / "judge")
    options = ["--size", 128, "--steps", 2, "--identity", tmp_path / "judge"]
    before = None
    for stage in (1, 2, 3):
        out = tmp_path / f"stage{stage}"
        chain = ["--init", tmp_path / f"stage{stage - 1}"] if stage > 1 else []
        train("symmetrize.py", folders, out, "--stage", stage, *options, *chain)
        assert {"adversarial", "identity", "kl", "flow", "critic"} <= set(stats(out)[0])
        state = SymmetrizerVAE.from_pretrained(out / "model").state_dict()
        if before is not None:  # two steps from where the last stage ended, not from the start
            assert all((state[k] - before[k]).abs().max() < 0.1 for k in state if k.endswith("weight"))
        before = state
    train(
        "symmetrize.py", folders, tmp_path / "end", "--stage", 3, *options, "--no-copy", "--identity", "none"
    )
    assert "flow" not in stats(tmp_path / "end")[0]


def test_the_symmetrizers_targets(folders):
    """Stage 1: the picture; 2: its face; 3: a symmetric face, of the healthy picture where a palsy was simulated."""
    from train.symmetrize import SymmetrizerSamples, turned_side

    faces = FaceFolders([folders[0]], 128)
    rng = lambda: np.random.default_rng(3)  # noqa: E731
    one, two, three = (SymmetrizerSamples(faces, stage) for stage in (1, 2, 3))
    sample = one.sample(0, rng(), augment=False)
    assert (sample["target"] == sample["image"]).all() and (sample["region"] == 1).all()
    sample = two.sample(0, rng(), augment=False)
    face = sample["region"].bool().expand(3, -1, -1)
    assert (sample["target"][face] == sample["image"][face]).all() and (sample["target"][~face] == -1).all()
    healthy, sick = (three.sample(0, rng(), augment=False, palsy=strength) for strength in (0, 1.0))
    for drawn in (healthy, sick, three.sample(1, rng())):
        assert (drawn["target"] == drawn["target"].flip(-1)).all()
        assert drawn["goal"].shape == (68, 2) and drawn["places"].shape == (2, 68, 2)
    assert (sick["image"] != healthy["image"]).any() and (sick["goal"] == healthy["goal"]).all()
    # In stage 3 the flow's two places at a landmark are that landmark in x and in x's mirror image.
    np.testing.assert_allclose(
        sick["places"][1, :, 0].numpy(), -sick["places"][0, FLIP_68, 0].numpy(), atol=1e-6
    )
    points = template(128)
    assert turned_side(points) is None
    points[27:31, 0] += 20
    assert turned_side(points) == "left" and turned_side(128 - points[FLIP_68] * [1, -1]) == "right"


@pytest.mark.parametrize("kind", ["zprime", "hard"])
def test_symmetric_gans_train(folders, tmp_path, kind):
    options = ["--kind", kind, "--size", 64, "--width", 4, "--steps", 2, "--r1-every", 1, "--sample-every", 2]
    train("symgan.py", folders, tmp_path, *options)
    assert {"generator", "critic", "r1"} <= set(stats(tmp_path)[1]) and list(
        (tmp_path / "samples").glob("*.png")
    )
    assert ("mirror" in stats(tmp_path)[1]) == (kind == "hard")
    net = SymmetricGenerator.from_pretrained(tmp_path / "model")
    assert net.size == 64 and net.config.kind == ("plain" if kind == "hard" else "zprime")


def test_a_symmetric_gan_trains_with_an_encoder(folders, tmp_path):
    options = ["--encoder", "--latent", 10, "--asymmetric", 3, "--size", 64, "--width", 4, "--steps", 3]
    options += ["--critic-from", 1, "--sample-every", 3, "--no-augment"]
    train("symgan.py", folders, tmp_path, *options)
    first, _, last = stats(tmp_path)
    assert {"absolute", "kl", "yaw"} <= set(first) and "generator" not in first
    assert {"absolute", "kl", "yaw", "generator", "critic", "val"} <= set(last)
    net = SymmetricGenerator.from_pretrained(tmp_path / "model")
    encoder = SymmetricEncoder.from_pretrained(tmp_path / "encoder")
    assert net.config.yaw and encoder.config.latent == net.config.latent == 10
    with pytest.raises(AssertionError, match="--encoder is for"):  # a plain GAN's latents have no mirror
        train("symgan.py", folders, tmp_path, *options, "--kind", "plain")


def test_the_encoders_first_number_is_the_yaw_where_it_is_known():
    from train.symgan import encoder_terms

    encoder = SymmetricEncoder(latent=6, asymmetric=2, size=32, widths=(4, 4))
    image = torch.rand(3, 3, 32, 32)
    normal = torch.zeros(3, 6, requires_grad=True)
    yaw = torch.tensor([20.0, float("nan"), -20.0])
    terms = encoder_terms(encoder, normal, yaw, image, image, None, np.random.default_rng(0))
    assert terms["absolute"] == 0 and terms["yaw"] == 1
    terms["yaw"].backward()
    assert (
        (normal.grad[:, 1:] == 0).all()
        and normal.grad[0, 0] < 0 < normal.grad[2, 0]
        and normal.grad[1, 0] == 0
    )
    unknown = encoder_terms(encoder, normal, yaw * float("nan"), image, image, None, np.random.default_rng(0))
    assert "yaw" not in unknown


def test_the_stream_depends_on_seed_and_number_alone(folders):
    from train.symmfc import CompletionSamples

    faces = FaceFolders([folders[0]], 64)
    one, other, seeded = (CompletionSamples(faces, None, seed) for seed in (0, 0, 1))
    ahead = one[11]["image"]
    for n in range(11):
        other[n]
    assert (other[11]["image"] == ahead).all()
    assert (seeded[11]["image"] != ahead).any()


def test_masks_always_leave_something_known_and_something_missing():
    rng, points = np.random.default_rng(0), template(64)
    shares = [1 - random_mask(rng, 64, points, None).mean() for _ in range(200)]
    assert min(shares) > 0.01 and max(shares) < 0.65
    assert np.std(shares) > 0.05


def test_pictures_of_minors_are_never_read(tmp_path):
    its, name = min(left_out()).split("/")
    text = f"file_name,subject,split\n{name},1,train\ngrown-up.webp,2,train\n"
    for folder in (its, "another"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metadata.csv").write_text(text)
    assert [row["index"] for row in read_metadata(tmp_path / its)] == [1]
    assert len(read_metadata(tmp_path / "another")) == 2
