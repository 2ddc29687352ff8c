"""NFGAN: the network, the gradients' ways, the simulated pairs, training, pipeline and command."""

import csv
import json
import shutil
import sys

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from test_evaluate import alexnet  # noqa: F401 (a fixture)
from test_training import ROOT, folders, stats, template, train  # noqa: F401 (a fixture)

import facesym
from facesym import ImageError, metrics
from facesym.cli import main
from facesym.data import simulate
from facesym.data.pairs import Pairs, PairSamples
from facesym.faces.align import align_face, ffhq_transform
from facesym.faces.detect import detect_faces
from facesym.models import AttributeGenerator, NormalizedFaceGAN
from facesym.models.nfgan import NormalizedFace, NormalizedFaceDiscriminator, combine
from facesym.pipelines.base import finer_transform

sys.path.insert(0, str(ROOT))

from train import evaluate, evaluate_expressions, nfgan
from train.factor import factor
from train.lssl_data import LOOKS

SMALL = dict(encoder_widths=(8,) * 5, hidden=16, latent=8, decoder_widths=(8,) * 5)


def closed(size):
    """The landmarks of a schematic face whose mouth is closed."""
    marks = template(size)
    marks[60:68, 1] = 0.74 * size + 0.2 * (marks[60:68, 1] - 0.74 * size)
    return marks


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return NormalizedFaceGAN(**SMALL).eval()


@pytest.fixture(scope="module")
def model(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nfgan")
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(model):
    return facesym.load(str(model))


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory):
    """A mesh of a schematic face on half an ellipsoid, in the format of ICT FaceKit's."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 9000))
    x, y = x[x**2 + y**2 < 1], y[x**2 + y**2 < 1]
    x, y = np.resize(x, 7000), np.resize(y, 7000)
    height = lambda x, y: 9 * np.sqrt(np.clip(1 - x**2 - y**2, 0, None))  # noqa: E731
    vertices = np.stack([9 * x, 9 * y, height(x, y)], 1)
    marks = closed(1.0) * 2 - 1  # y down
    vertices[simulate.LANDMARK_VERTICES] = np.stack(
        [9 * marks[:, 0], -9 * marks[:, 1], height(*marks.T * 0.8)], 1
    )
    names = sorted(
        {f"{n}{s}" for shapes in simulate.EXPRESSIONS.values() for n in shapes for s in ("_L", "_R")}
    )
    file = tmp_path_factory.mktemp("mesh") / "mesh.npz"
    np.savez(
        file,
        neutral=vertices.astype(np.float32),
        identity=rng.normal(0, 0.05, (3, len(vertices), 3)).astype(np.float16),
        expression=rng.normal(0, 0.2, (len(names), len(vertices), 3)).astype(np.float16),
        expression_names=np.array(names),
    )
    return file


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """Ten people from the front, neutral and smiling, and three-quarter; schematic, textured so that places show."""
    folder, size = tmp_path_factory.mktemp("studio") / "london", 96
    folder.mkdir()
    rng = np.random.default_rng(1)
    rows, points = ["file_name,subject,split,yaw,view,expression"], []
    for person in range(10):
        texture = cv2.resize(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8), (size, size))
        for view, expression, yaw in (
            ("front", "neutral", 0),
            ("front", "smiling", 1),
            ("left_3quarter", "neutral", -40),
        ):
            marks = closed(size)
            if expression == "smiling":
                marks[[48, 54, 60, 64], 1] -= 4
                marks[[65, 66, 67], 1] += 6
            name = f"{person}_{expression}_{view}.webp"
            Image.fromarray(texture).save(folder / name, lossless=True)
            split = "train" if person < 8 else "val" if person == 8 else "test"
            rows.append(f"{name},{person},{split},{yaw},{view},{expression}")
            points.append(marks)
    (folder / "metadata.csv").write_text("\n".join(rows))
    np.save(folder / "landmarks.npy", np.array(points, np.float32))
    return folder


@pytest.fixture(scope="module")
def bank(studio, mesh_file):
    return simulate.Expressions(studio, simulate.FaceMesh(mesh_file), 96)


@pytest.fixture(scope="module")
def pairs(studio, mesh_file, tmp_path_factory):
    from train.prepare import main as prepare

    out = tmp_path_factory.mktemp("pairs")
    prepare(
        ["pairs", str(out), str(studio), "--mesh", str(mesh_file), "--expressions", str(studio), "--count", "30",
         "--size", "64", "--workers", "1"]
    )  # fmt: skip
    return out


# --- the network


def test_the_printed_network():
    net = NormalizedFaceGAN.preset("paper")
    out = net.eval()(torch.zeros(2, 1, 64, 64))
    assert out.image.shape == (2, 1, 64, 64) and out.z.shape == (2, 256) and out.flow is None
    shapes = [tuple(m.weight.shape[:2]) for m in net.encoder if hasattr(m, "kernel_size")]
    assert shapes == [(32, 1), (64, 32), (128, 64), (256, 128)]
    assert isinstance(net.encoder[-1], torch.nn.Linear)  # FC2: no batch norm, no activation
    scores = NormalizedFaceDiscriminator(1)(torch.zeros(2, 1, 64, 64))
    assert scores.shape == (2, 1, 4, 4)


def test_all_that_dec_knows_of_the_face_goes_through_z(net):
    """Without copying, pictures with equal z are equal; with it, the flow and the choice are."""
    z, (a, b) = torch.randn(1, 8), torch.rand(2, 1, 3, 128, 128) * 2 - 1
    one, other = net.decode(z, a), net.decode(z, b)
    assert torch.equal(one.flow, other.flow) and torch.equal(one.choice, other.choice)
    assert torch.equal(one.drawn, other.drawn) and not torch.equal(one.image, other.image)


def test_the_three_sources():
    copied, drawn = torch.rand(2, 1, 3, 8, 8)
    only = lambda k: torch.eye(3)[k][None, :, None, None].expand(1, 3, 8, 8)  # noqa: E731
    assert torch.equal(combine(copied, drawn, only(0)), copied)
    assert torch.equal(combine(copied, drawn, only(1)), copied.flip(-1))
    assert torch.equal(combine(copied, drawn, only(2)), drawn)


def test_the_walk_begins_at_the_face_and_ends_at_the_result(net):
    image = torch.rand(1, 3, 128, 128) * 2 - 1
    z = net.encode(image)
    assert torch.allclose(net.decode(z, image, 0.0).image, image, atol=1e-4)
    assert torch.allclose(net.decode(z, image, 1.0).image, net(image).image, atol=1e-5)


def test_a_larger_crop_gives_a_larger_result_of_the_same_face(net):
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16) * 2 - 1, (256, 256), mode="bicubic")
    small = torch.nn.functional.avg_pool2d(image, 2)
    z = net.encode(small)
    large = net.decode(z, image).image
    assert large.shape[-1] == 256
    assert (torch.nn.functional.avg_pool2d(large, 2) - net.decode(z, small).image).abs().mean() < 0.02


@pytest.mark.parametrize("wrong", [{"latent": 6}, {"kernel": 5}, {"encoder_widths": (8,) * 6}])
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError):
        NormalizedFaceGAN(**(SMALL | wrong))


def test_adversarial_and_symmetry_errors_reach_dec_but_not_enc():
    """Algorithm 1: Enc's gradients are those of its own terms, as if the others were not there; Dec has all."""
    torch.manual_seed(0)
    net, critic = NormalizedFaceGAN(**SMALL), NormalizedFaceDiscriminator(3, (8, 8))
    image, target = torch.rand(2, 4, 3, 128, 128) * 2 - 1

    def gradients(weights):
        net.zero_grad()
        z = net.encode(image)
        handed = z.detach().requires_grad_(True)
        out = net.decode(handed, image)
        terms = {
            "pixel": facesym.losses.pixel_loss(out.image, target),
            "symmetry": facesym.losses.mirror_loss(out.image),
            "adversarial": facesym.losses.generator_loss(critic(out.image)),
        }
        nfgan.routed_loss(z, handed, terms, weights).backward()
        return [
            torch.cat([p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in part])
            for part in (list(net.encoder.parameters()), [*net.decoder.parameters(), *net.draw.parameters()])
        ]

    enc, dec = gradients({"pixel": 1.0, "symmetry": 0.0, "adversarial": 0.0})
    for name in ("symmetry", "adversarial"):
        weights = {"pixel": 1.0, "symmetry": 0.0, "adversarial": 0.0} | {name: 1.0}
        enc_more, dec_more = gradients(weights)
        assert enc.abs().max() > 0 and torch.allclose(enc_more, enc, rtol=1e-3, atol=1e-7)
        assert (dec_more - dec).abs().max() > 1e-3 * dec.abs().max()
    net.zero_grad()
    facesym.losses.pixel_loss(
        net(image).image, target
    ).backward()  # the ordinary way, for the pixel term alone
    plain = torch.cat([p.grad.flatten() for p in net.encoder.parameters()])
    assert torch.allclose(enc, plain, rtol=1e-3, atol=1e-6)


def test_losses_are_zero_where_they_should_be():
    half = torch.rand(1, 3, 16, 8)
    symmetric = torch.cat([half, half.flip(-1)], -1)
    assert facesym.losses.mirror_loss(symmetric) < 1e-6
    assert facesym.losses.mirror_loss(torch.rand(1, 3, 16, 16)) > 0.1
    light = torch.linspace(0, 1, 32)[None, None, None].expand(1, 1, 32, 32)  # even light from one side
    inner = facesym.losses.laplacian(light)[..., 1:-1, 1:-1]
    assert inner.abs().max() < 1e-5
    features = [torch.rand(1, 4, 2, 2), torch.rand(1, 8)]
    assert facesym.losses.kept_identity_loss(features, features) == 0


# --- simulated pairs


def looked_up(image, places):
    return cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR)


@pytest.mark.parametrize("seed", range(6))
def test_places_say_where_the_targets_pixels_went(bank, studio, seed):
    """What is seen of the target is found again in the simulated face at the places given."""
    target = np.asarray(Image.open(studio / "0_neutral_front.webp"))
    made = simulate.simulate(np.random.default_rng(seed), target, closed(96), bank)
    back = looked_up(made.image, made.places).astype(int)
    cells = np.asarray(Image.fromarray(target).resize((simulate.GRID,) * 2, Image.Resampling.BOX)).astype(int)
    inside = ((made.places > 2) & (made.places < 93)).all(-1) & made.seen
    inside[:6] = inside[-4:] = False
    assert inside.mean() > 0.3
    assert np.abs(back - cells)[inside].mean() < 25  # of 255; the texture's own deviation is over 60
    assert np.abs(looked_up(made.image, made.places[:, ::-1].copy()).astype(int) - cells)[inside].mean() > 40


def test_a_head_turns_the_way_it_is_told(bank, studio):
    target = np.asarray(Image.open(studio / "0_neutral_front.webp"))
    vertices, _ = bank.mesh.fit(closed(96))
    for yaw in (-30, 30):
        _, places, seen = simulate.turn_head(target, vertices, bank.mesh.neck, yaw)
        nose, ears = closed(96)[30], closed(96)[[1, 15]]
        at = lambda p, places=places: places[int(p[1]), int(p[0])]  # noqa: E731
        middle = (at(ears[0]) + at(ears[1])) / 2
        assert np.sign(at(nose)[0] - middle[0]) == np.sign(yaw)  # the nose is in front of the ears
        far, near = (0, 1) if yaw < 0 else (1, 0)
        hidden = [1 - seen[30:70, 8:40].mean(), 1 - seen[30:70, 56:88].mean()]
        assert hidden[far] > hidden[near]
    same, places, seen = simulate.turn_head(target, vertices, bank.mesh.neck, 0)
    assert seen.mean() > 0.99 and np.abs(same.astype(int) - target).mean() < 3


def test_the_same_seed_gives_the_same_pair(bank, studio):
    target = np.asarray(Image.open(studio / "1_neutral_front.webp"))
    one, same, other = (
        simulate.simulate(np.random.default_rng(seed), target, closed(96), bank).image for seed in (4, 4, 5)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_mesh_lies_on_its_landmarks(mesh_file):
    mesh = simulate.FaceMesh(mesh_file)
    points = closed(200) @ np.array([[0.98, 0.17], [-0.17, 0.98]]) + [30, 10]  # tilted
    vertices, _ = mesh.fit(points)
    off = np.linalg.norm(vertices[simulate.LANDMARK_VERTICES, :2] - points, axis=1)
    assert off[17:].mean() < 0.03 * np.linalg.norm(points[45] - points[36])


def test_what_is_no_mesh_and_no_bank_is_refused(tmp_path, folders, mesh_file):  # noqa: F811
    (tmp_path / "mesh.npz").write_bytes(b"no")
    with pytest.raises(ImageError, match="no face mesh"):
        simulate.FaceMesh(tmp_path / "mesh.npz")
    with pytest.raises(ImageError, match="neutral and smiling"):
        simulate.Expressions(folders[0], simulate.FaceMesh(mesh_file), 64)
    with pytest.raises(ImageError, match="no folder of pairs"):
        Pairs(tmp_path)


def test_prepared_pairs(pairs):
    with open(pairs / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [row["kind"] for row in rows]
    assert kinds.count("real") == 20 and kinds.count("simulated") == 30  # two inputs of each of ten people
    for row in rows:
        assert (pairs / "inputs" / row["input"]).exists() and (pairs / "targets" / row["target"]).exists()
        person = row["subject"].rpartition("-")[2]
        assert row["split"] == ("train" if int(person) < 8 else "val" if person == "8" else "test")
    assert (pairs / "preview.png").exists()


def test_the_side_that_is_turned_away_is_at_the_right(pairs):
    loaded = Pairs(pairs)
    samples = PairSamples(loaded, 64, augment=False)
    rng = np.random.default_rng(0)
    turned = [k for k, i in enumerate(samples.faces) if abs(float(loaded.rows[i]["yaw"])) > 15]
    assert turned
    for k in turned:
        row = samples.faces[k]
        sample = samples.sample(k, rng)
        image = loaded.inputs[row].astype(int)
        if float(loaded.rows[row]["yaw"]) < 0:
            image = image[:, ::-1]
        assert np.abs((sample["image"].permute(1, 2, 0).numpy() + 1) * 127.5 - image).max() < 1
        if loaded.rows[row]["kind"] == "simulated":  # the places went along with the picture
            places = ((sample["places"].permute(1, 2, 0).numpy() + 1) * 64 - 1) / 2
            found = looked_up(image.astype(np.uint8), places.astype(np.float32)).astype(int)
            target = (sample["target"].permute(1, 2, 0).numpy() + 1) * 127.5
            cells = cv2.resize(target, (simulate.GRID,) * 2, interpolation=cv2.INTER_AREA)
            seen = sample["weight"][0].numpy() > 0.9
            seen &= ((places > 2) & (places < 61)).all(-1)
            assert np.abs(found - cells)[seen].mean() < 35


def test_real_pairs_get_their_share(pairs):
    loaded = Pairs(pairs)
    for share in (0.0, 0.6, 0.8):
        rows = PairSamples(loaded, 64, real_share=share).faces
        real = np.mean([loaded.rows[i]["kind"] == "real" for i in rows])
        assert abs(real - share) < 0.1


@pytest.fixture(scope="module")
def turned(studio, mesh_file, tmp_path_factory):
    """Pairs of a folder of web photos: a third turned by 20 degrees, a third smiling, a third frontal."""
    from train.prepare import main as prepare

    folder = tmp_path_factory.mktemp("web") / "web"
    folder.mkdir()
    names = [line.split(",")[0] for line in (studio / "metadata.csv").read_text().splitlines()[1:]]
    rows = [
        f"{name},{k},train,{(20, 20, 3)[k % 3]},0,{(0.9, 0.1, 0.9)[k % 3]}" for k, name in enumerate(names)
    ]
    for name in names:
        (folder / name).write_bytes((studio / name).read_bytes())
    (folder / "metadata.csv").write_text("\n".join(["file_name,subject,split,yaw,pitch,neutral", *rows]))
    points = np.repeat(closed(96)[None], len(names), 0)
    np.save(folder / "landmarks.npy", points.astype(np.float32))
    out = tmp_path_factory.mktemp("turned")
    prepare(
        ["pairs", str(out), str(folder), "--mesh", str(mesh_file), "--expressions", str(studio), "--count", "6",
         "--size", "64", "--workers", "1"]
    )  # fmt: skip
    return Pairs(out)


def test_turned_photos_are_pairs_with_a_target_of_the_mesh(turned):
    kinds = [row["kind"] for row in turned.rows]
    assert kinds.count("turned") == 10 and kinds.count("simulated") == 6
    assert all(row["target"].startswith("turned-") == (row["kind"] == "turned") for row in turned.rows)
    samples = PairSamples(turned, 64, turned_share=0.8)
    share = np.mean([turned.rows[i]["kind"] == "turned" for i in samples.faces])
    assert abs(share - 0.8) < 0.15
    made = {i for i, row in zip(turned.target_of, turned.rows) if row["kind"] == "turned"}
    assert made.isdisjoint(samples.guides) and len(samples.guides)  # the critic's real pictures are photos


def test_outside_the_face_a_turned_photo_teaches_nothing(turned, net):
    samples = PairSamples(turned, 128)
    rows = {row["kind"]: samples.pair(i, np.random.default_rng(0)) for i, row in enumerate(turned.rows)}
    assert rows["simulated"]["trust"].min() == 1
    trust = rows["turned"]["trust"]
    assert trust[0, 78, 64] == 1 and trust[0, 5, 5] == 0
    batch = {key: value[None] for key, value in rows["turned"].items()}
    out = net(batch["image"])
    image = out.image.detach().requires_grad_()
    terms = nfgan.terms_of(
        NormalizedFace(image, out.z, out.drawn, out.flow, out.choice), batch, None, None, None
    )
    (gradient,) = torch.autograd.grad(terms["pixel"] + terms["inner"], image)
    assert gradient[0, :, trust[0] == 0].abs().max() == 0 < gradient[0, :, trust[0] == 1].abs().max()


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """Random weights under torchvision's names, as far as they are used."""
    from train.trunk import LAYERS

    tensors, channels, place = {}, 3, 0
    for layer in LAYERS[:10]:
        if layer == "M":
            place += 1
            continue
        tensors[f"features.{place}.weight"] = torch.randn(layer, channels, 3, 3) * (2 / 9 / channels) ** 0.5
        tensors[f"features.{place}.bias"] = torch.zeros(layer)
        channels, place = layer, place + 2
    file = tmp_path_factory.mktemp("trunk") / "vgg16.safetensors"
    safetensors.torch.save_file(tensors, file)
    return file


def test_the_released_kind_trains(pairs, vgg16, tmp_path):
    train("nfgan.py", (pairs,), tmp_path, "--steps", 1, "--trunk", vgg16)
    terms = {
        "pixel",
        "symmetry",
        "feature",
        "identity",
        "place",
        "landmark",
        "smooth",
        "adversarial",
        "critic",
        "r1",
    }
    assert terms | {"adversarial", "critic", "r1", "val"} <= set(stats(tmp_path)[-1])
    net = NormalizedFaceGAN.from_pretrained(tmp_path / "model")
    assert net.size == 128 and net.config.copy
    assert list((tmp_path / "samples").glob("*.png")) and (tmp_path / "discriminator.safetensors").exists()


def test_the_printed_kind_goes_on_where_it_stopped(pairs, tmp_path):
    """Two steps in one go, and one, a new start, and another: the same losses and weights."""
    options = [
        "--steps",
        2,
        "--save-every",
        1,
        "--preset",
        "paper",
        "--real-share",
        "0.3",
        "--identity",
        "none",
    ]
    train("nfgan.py", (pairs,), tmp_path / "whole", *options)
    parts = tmp_path / "parts"
    shutil.copytree(
        tmp_path / "whole" / "checkpoints" / "step-0000001", parts / "checkpoints" / "step-0000001"
    )
    train("nfgan.py", (pairs,), parts, *options, "--resume")
    (_, wanted), (found,) = stats(tmp_path / "whole"), stats(parts)
    assert found["step"] == 2
    for name in ("pixel", "adversarial", "critic", "val"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-4)
    one, other = (
        NormalizedFaceGAN.from_pretrained(folder / "model") for folder in (tmp_path / "whole", parts)
    )
    assert one.size == 64 and one.config.channels == 1
    for a, b in zip(one.parameters(), other.parameters()):
        assert torch.allclose(a, b, atol=1e-3)


def test_places_off_by_a_known_way():
    flow = torch.zeros(1, 2, 64, 64)
    places = torch.zeros(1, 2, 32, 32)
    places[:, 0, :, 16:] = 0.3
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 16:] = 1
    assert facesym.losses.place_loss(flow, places, weight) == pytest.approx(0.3, abs=1e-2)
    assert facesym.losses.place_loss(flow, places, weight.flip(-1)) < 2e-3


@pytest.mark.parametrize(
    "row, frontal",
    [
        ({"yaw": "3", "pitch": "5", "neutral": "0.9"}, True),
        ({"yaw": "-14", "pitch": "5", "neutral": "0.9"}, False),
        ({"yaw": "3", "pitch": "-20", "neutral": "0.9"}, False),
        ({"yaw": "3", "pitch": "5", "neutral": "0.2"}, False),
        ({"yaw": "", "pitch": "", "neutral": ""}, False),
        ({"view": "front", "expression": "neutral", "yaw": "3"}, True),
        ({"view": "front", "expression": "smiling", "yaw": "3", "neutral": "1"}, False),
        ({"view": "left_3quarter", "expression": "neutral"}, False),
    ],
)
def test_who_is_frontal_and_neutral(row, frontal):
    assert simulate.is_frontal_neutral(row, closed(96)) == frontal
    talking = closed(96)
    talking[65:68, 1] += 8
    assert not simulate.is_frontal_neutral(row, talking)


@pytest.mark.parametrize("wrong", ["mesh", "full", "twice", "nothing"])
def test_pairs_that_cannot_be_made_leave_nothing_behind(studio, mesh_file, tmp_path, capsys, wrong):
    from train.prepare import main as prepare

    out, sets, mesh, count = tmp_path / "out", [str(studio)], mesh_file, "4"
    if wrong == "mesh":
        mesh = tmp_path / "mesh.npz"
        mesh.write_bytes(b"PK")
    elif wrong == "full":
        out.mkdir()
        (out / "pairs.csv").write_text("mine")
    elif wrong == "twice":
        sets *= 2
    else:
        count, sets = "0", [str(tmp_path / "gone")]
    with pytest.raises(SystemExit) as end:
        prepare(
            ["pairs", str(out), *sets, "--mesh", str(mesh), "--expressions", str(studio), "--count", count]
        )
    assert str(end.value.code).startswith("error: ")
    assert not out.exists() or [path.name for path in out.iterdir()] == ["pairs.csv"]


# --- pipeline, command


@pytest.fixture(scope="module")
def crop(astronaut):
    return align_face(astronaut, ffhq_transform(detect_faces(astronaut)[0].points, 128), 128)


def test_a_mirrored_head_gives_the_mirrored_face(pipe, crop):
    mirrored = Image.fromarray(np.ascontiguousarray(np.asarray(crop)[:, ::-1]))
    (one,), (other,) = pipe.run(crop, crop, 20.0), pipe.run(mirrored, mirrored, -20.0)
    assert np.abs(np.asarray(one).astype(int) - np.asarray(other)[:, ::-1]).max() <= 1


def test_results(pipe, astronaut):
    out = pipe(astronaut, walk=3)
    times = finer_transform(ffhq_transform(detect_faces(astronaut)[0].points, 128), 128)[1] // 128
    assert out.images[0].size == out.crop.size == (128 * times,) * 2
    assert len(out.walk) == 3 and len(out.identity) == 1 and abs(out.yaw) < 15
    assert np.abs(np.asarray(out.walk[0]).astype(int) - np.asarray(out.crop)).mean() < 2
    assert np.abs(np.asarray(out.walk[-1]).astype(int) - np.asarray(out.images[0])).max() <= 1
    both = Image.new("RGB", (1024, 512))
    both.paste(astronaut), both.paste(astronaut, (512, 0))
    every = pipe(both, faces="all")
    assert len(every.images) == len(every.yaw) == len(every.walk) == 2


def test_pasting_leaves_the_rest_alone(pipe, astronaut):
    out = pipe(astronaut, paste=True)
    assert out.images[0].size == astronaut.size
    same = (np.asarray(out.images[0]) == np.asarray(astronaut)).all(2)
    assert same[300:].all() and not same[60:200, 170:290].all()


@pytest.mark.parametrize("walk", [1, -3, 2.5])
def test_a_walk_that_makes_no_sense_is_refused(pipe, astronaut, walk):
    with pytest.raises(ImageError, match="walk"):
        pipe(astronaut, walk=walk)


def test_a_finer_crop_shows_the_same():
    photo = Image.fromarray(
        cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8), (400, 400))
    )
    transform = np.array([[0.3, 0.02, -5], [-0.02, 0.3, -3]])
    larger, side = finer_transform(transform, 64)
    assert side == 192
    fine = align_face(photo, larger, side).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(fine).astype(int) - np.asarray(align_face(photo, transform, 64))).mean() < 2


def test_command(model, astronaut, tmp_path, capsys):
    astronaut.save(tmp_path / "photo.png")
    with pytest.raises(SystemExit) as end:
        main(["normalize", str(tmp_path / "photo.png"), "--model", str(model), "--walk", "3", "--json"])
    assert end.value.code == 0
    result = Image.open(tmp_path / "photo-normalize.png")
    assert result.width == result.height and "AI" in result.info["Description"]
    assert (tmp_path / "photo-normalize-walk.mp4").stat().st_size > 0
    assert '"yaw"' in capsys.readouterr().out


def test_factored_weights_do_the_same_where_they_can():
    """On inputs that span fewer directions than the rank nothing is lost; with a rank of 1 something is."""
    torch.manual_seed(0)
    widths = (4, 8, 8, 8, 16)
    net = NormalizedFaceGAN(
        encoder_widths=widths, hidden=24, latent=32, decoder_widths=(40, 24, 16, 8, 8)
    ).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                layer.running_mean.normal_(0, 0.1)
    images = torch.rand(6, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        truth = net(images).image
        # Six pictures: FC1 sees six inputs, of which five directions remain beside the mean.
        same, less = (factor(net, rank, [images]) for rank in (11, 1))
        assert same.num_parameters() < net.num_parameters()
        assert isinstance(same.encoder[15], torch.nn.Sequential) and same.config.rank == 11
        off, much = ((small(images).image - truth).abs().mean() for small in (same, less))
    assert off < 0.2 * much
    torch.testing.assert_close(same.encode(images), net.encode(images), atol=1e-4, rtol=1e-3)


def test_the_classical_row_turns_a_face_to_the_front(bank):
    """The side that was seen is where it was before the head was turned."""
    size, points = 96, closed(96)
    texture = cv2.resize(
        np.random.default_rng(2).integers(0, 255, (12, 12, 3)).astype(np.uint8), (size, size)
    )
    framed, align = simulate._align_anew(texture, points)
    points = points @ align[:, :2].T + align[:, 2]
    vertices, _ = bank.mesh.fit(points)
    for yaw, seen in ((30, np.s_[40:62, 38:48]), (-30, np.s_[40:62, 48:58])):  # beside the nose
        turned, places, _ = simulate.turn_head(framed, vertices, bank.mesh.neck, yaw)
        moved = np.array([places[round(float(y)), round(float(x))] for x, y in points])
        frontal = simulate.frontalise(turned, moved, bank.mesh)[0].astype(int)
        assert (
            np.abs(frontal[seen] - framed[seen]).mean()
            < 0.6 * np.abs(turned[seen].astype(int) - framed[seen]).mean()
        )
        inner = frontal[35:75, 28:68]
        assert (
            np.abs(inner[:, :17] - inner[:, ::-1][:, :17]).mean() < 1
        )  # what was hidden is the mirror image


def test_faces_of_different_sizes_in_one_photo(pipe, astronaut):
    photo = Image.new("RGB", (1536, 1024))
    photo.paste(astronaut.resize((1024, 1024)), (0, 0))
    photo.paste(astronaut.resize((300, 300)), (1100, 100))
    out = pipe(photo, faces="all")
    assert len({image.size for image in out.images}) == 2 and len(out.identity) == 2


# --- measures


def test_normalised_faces_are_measured(
    studio_of_a_person,
    mesh_file,
    model,
    alexnet,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, *_: np.zeros(len(a)))  # it wants the real trunk
    london, lfw = studio_of_a_person
    torch.manual_seed(0)
    real = AttributeGenerator(  # at first it gives back what it is given: the mesh's face
        widths=(8, 8, 16, 16, 16), blocks=1, groups=tuple(LOOKS.items()), side_channels=3, input_size=128
    )
    real.save_pretrained(tmp_path / "mode b")
    evaluate.main(
        ["normalize", "--london", str(london), "--lfw", str(lfw), "--mesh", str(mesh_file), "--trunk", str(alexnet),
         "--models", str(model), "--realism", f"real={tmp_path / 'mode b'}", "-n", "2", "-o", str(tmp_path)]
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    front = {row["row"]: row for row in results["results"]["London, front, neutral"]}
    assert set(front) == {"photo", "mesh and mirror", model.name, "real"}
    assert front["real"]["lpips"] == 0 and abs(front["real"]["psnr"] - front["mesh and mirror"]["psnr"]) < 4
    assert front["photo"]["identity_distance"] == 0 and front["photo"]["sharpness"] == pytest.approx(1)
    assert front["photo"]["yaw"] < 15 and front[model.name]["psnr"] < 60
    assert "LFW" in results["results"] and "psnr" not in results["results"]["LFW"][0]
    assert "| photo |" in capsys.readouterr().out


def test_the_folders_must_say_what_is_needed(folders, mesh_file, model, alexnet, tmp_path):  # noqa: F811
    with pytest.raises(SystemExit, match="no column"):
        evaluate.main(
            ["normalize", "--london", str(folders[0]), "--lfw", str(folders[0]), "--mesh", str(mesh_file),
             "--trunk", str(alexnet), "--models", str(model), "-o", str(tmp_path)]
        )  # fmt: skip


@pytest.fixture(scope="module")
def studio_of_a_person(astronaut, tmp_path_factory):
    """The astronaut as two sitters of a studio, and as pictures of the wild."""
    root = tmp_path_factory.mktemp("sets")
    crop = np.asarray(align_face(astronaut, ffhq_transform(detect_faces(astronaut)[0].points, 128), 128))
    head = "file_name,subject,split,yaw,view,expression,neutral,happy"
    for name in ("london", "lfw"):
        (root / name).mkdir()
        rows = [head]
        for split in ("train", "test"):
            for expression in ("neutral", "smiling"):
                picture = crop if expression == "neutral" else 255 - (255 - crop) // 2
                file = f"{split}-{expression}.webp"
                Image.fromarray(picture).save(root / name / file, lossless=True)
                view = "front" if name == "london" else ""
                sure = "1,0" if expression == "neutral" else "0,1"
                rows.append(f"{file},{split},{split},0,{view},{expression},{sure}")
        (root / name / "metadata.csv").write_text("\n".join(rows))
        np.save(root / name / "landmarks.npy", np.stack([closed(128)] * 4))
    return root / "london", root / "lfw"


def test_expressions_are_recognised_with_and_without_normalised_faces(
    model, crop, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(evaluate_expressions, "FOLDS", 2)
    rows = ["file_name,subject,expression"]
    grey = np.asarray(crop.convert("L").crop((27, 38, 101, 112)).resize((48, 48)))
    (tmp_path / "faces").mkdir()
    for person in range(8):
        for expression, picture in (("happy", grey), ("angry", 255 - grey)):
            name = f"{person}-{expression}.png"
            Image.fromarray(picture).save(tmp_path / "faces" / name)
            rows.append(f"{name},{person},{expression}")
    (tmp_path / "faces" / "metadata.csv").write_text("\n".join(rows))
    evaluate.main(
        ["ckplus", "--ckplus", str(tmp_path / "faces"), "--models", str(model), "--seeds", "1", "--epochs", "12",
         "-o", str(tmp_path / "out")]
    )  # fmt: skip
    table = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert [row["row"] for row in table] == ["faces alone", model.name]
    assert table[0]["accuracy"] > 0.8  # a face and its negative are easy to tell apart
    assert (tmp_path / "out" / f"{model.name}.png").exists() and "±" in capsys.readouterr().out
