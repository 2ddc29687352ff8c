"""What several tests need: photos that may be shown, folders to train on, random weights."""

import os

# `make test` runs two tests at a time (pytest-xdist). Each has one thread and its share of the cores, with all that it
# starts: threads that wait by spinning would take the others' time. Before torch is there.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        number, count = (int(os.environ[f"PYTEST_XDIST_WORKER{name}"].strip("gw")) for name in ("", "_COUNT"))
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number::count] or cores)

import csv
import tempfile
from functools import cache

# Nothing that a test decodes goes into the user's cache.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="facesym-cache-")

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from commands import Copier, picture
from nets import small
from PIL import Image
from symmetric import write_set
from training import closed, make_faces, make_masks

import facesym
from facesym.asymmetry import measure_asymmetry
from facesym.data import expressions, simulate
from facesym.data.pairs import Pairs
from facesym.data.prepare import main as prepare
from facesym.faces.align import align_face
from facesym.faces.find import find_faces
from facesym.metrics import import_torchvision

pytest_plugins = ["browser"]  # the page's fixtures


@pytest.fixture(scope="session")
def astronaut():
    """Eileen Collins, NASA, public domain: a 512x512 RGB photo with one face."""
    from skimage import data

    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="session")
def pair(astronaut):
    """Two faces side by side, the right one larger."""
    photo = Image.new("RGB", (812, 512))
    photo.paste(astronaut.resize((300, 300), Image.Resampling.LANCZOS), (0, 100))
    photo.paste(astronaut, (300, 0))
    return photo


@pytest.fixture(scope="session")
def large_crop(astronaut):
    """The astronaut's head, 256x256."""
    return astronaut.crop((140, 15, 310, 185)).resize((256, 256), Image.Resampling.LANCZOS)


@pytest.fixture(scope="session")
def face(large_crop):
    """`large_crop` and its landmarks: 256x256x3 uint8, 68x2."""
    return np.asarray(large_crop), measure_asymmetry(large_crop).points.astype(np.float64)


@pytest.fixture(scope="session")
def symmetrizer(saved):
    """A pipeline with a small network of random weights."""
    return facesym.load(saved("SymmetrizerVAE"))


@pytest.fixture(scope="session")
def crop(astronaut):
    """The astronaut's aligned face, 128x128."""
    _, (index,), transforms = find_faces(astronaut, "largest", 128)
    return align_face(astronaut, transforms[index], 128)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Of a class's name: the folder of a small network of that class."""

    @cache
    def save(name):
        folder = tmp_path_factory.mktemp(name)
        small(name).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_model(saved):
    """Folder of a small SymmFCNet."""
    return saved("SymmFCNet")


@pytest.fixture
def eye_hole():
    """A hole over the astronaut's eye on the image's left: 512x512 bool."""
    hole = np.zeros((512, 512), bool)
    hole[95:130, 190:225] = True
    return hole


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder of twelve schematic faces and one of four masks, in the formats of `facesym prepare`."""
    root = tmp_path_factory.mktemp("data")
    return make_faces(root / "faces"), make_masks(root / "masks")


@pytest.fixture(scope="session")
def vgg16(tmp_path_factory):
    """A file of VGG16's random weights under torchvision's names, as far as they are used."""
    with torch.device("meta"):
        layers = import_torchvision().models.vgg16(init_weights=False).features[:16]
    tensors = {
        f"features.{name}": torch.randn(value.shape) * (2 / 9 / value.shape[1]) ** 0.5
        if name.endswith("weight")
        else torch.zeros(value.shape)
        for name, value in layers.state_dict().items()
    }
    file = tmp_path_factory.mktemp("backbone") / "vgg16.safetensors"
    safetensors.torch.save_file(tensors, file)
    return file


@pytest.fixture
def alexnet(tmp_path):
    """A random AlexNet backbone with torchvision's names."""
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights = {}
    for number, (cout, cin, side) in shapes.items():
        weights[f"features.{number}.weight"] = torch.randn(cout, cin, side, side) * (cin * side**2) ** -0.5
        weights[f"features.{number}.bias"] = torch.zeros(cout)
    safetensors.torch.save_file(weights, tmp_path / "alexnet.safetensors")
    return tmp_path / "alexnet.safetensors"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A folder of four pictures with label maps."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    rows = ["file_name,label,subject,split"]
    for i in range(4):
        labels = np.zeros((64, 64), np.uint8)
        labels[10:54, 12:52] = 1
        labels[20:28, 18:46] = 3
        picture = np.array([[0, 80, 0], [220, 180, 160], [0, 0, 0], [40, 20, 20]], np.uint8)[labels]
        Image.fromarray(picture + rng.integers(0, 9, picture.shape, np.uint8)).save(folder / f"{i}.webp")
        Image.fromarray(labels).save(folder / f"{i}.label.png")
        rows.append(f"{i}.webp,{i}.label.png,{i},{'train' if i < 3 else 'test'}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory):
    """A mesh of a schematic face on half an ellipsoid, in the format of ICT FaceKit's."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 9000))
    x, y = x[x**2 + y**2 < 1], y[x**2 + y**2 < 1]
    x, y = np.resize(x, 7000), np.resize(y, 7000)

    def height(x, y):
        return 9 * np.sqrt(np.clip(1 - x**2 - y**2, 0, None))

    vertices = np.stack([9 * x, 9 * y, height(x, y)], 1)
    marks = closed(1.0) * 2 - 1  # y down
    vertices[simulate.LANDMARK_VERTICES] = np.stack(
        [9 * marks[:, 0], -9 * marks[:, 1], height(*marks.T * 0.8)], 1
    )
    names = sorted(
        {f"{n}{s}" for shapes in expressions.EXPRESSIONS.values() for n in shapes for s in ("_L", "_R")}
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
    """Expressions of the studio's people."""
    return expressions.Expressions(studio, simulate.FaceMesh(mesh_file), 96)


@pytest.fixture(scope="module")
def pairs(studio, mesh_file, tmp_path_factory):
    """A folder of simulated pairs of the studio's people."""
    out = tmp_path_factory.mktemp("pairs")
    prepare(
        ["pairs", str(out), str(studio), "--mesh", str(mesh_file), "--expressions", str(studio), "--count", "30",
         "--size", "64", "--workers", "1"]
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def turned(studio, mesh_file, tmp_path_factory):
    """Pairs of a folder of web photos: a third turned by 20 degrees, a third so and smiling, a third frontal."""
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


@pytest.fixture(scope="module")
def studio_of_a_person(crop, tmp_path_factory):
    """The astronaut as two sitters of a studio, and as images of the wild."""
    root = tmp_path_factory.mktemp("sets")
    crop = np.asarray(crop)
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


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """Two sets of symmetric faces to measure on, of 128 and 64 pixels, and masks."""
    root = tmp_path_factory.mktemp("data")
    write_set(root / "large", 128, 4)
    write_set(root / "small", 64, 3)
    (root / "masks").mkdir()
    shares = {"a": 0.1, "b": 0.3, "c": 0.9}
    with open(root / "masks" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "hole_share", "split"])
        for name, share in shares.items():
            mask = np.zeros((64, 64), np.uint8)
            mask[: round(64 * share)] = 255
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            writer.writerow([f"{name}.png", share, "test"])
        writer.writerow(["gone.png", 0.2, "train"])
    return root


@pytest.fixture
def quick_descriptor(monkeypatch):
    """For tests of what evaluations do with descriptors: brightnesses in place of dlib's, which take 0.1 s each."""
    monkeypatch.setattr("facesym.metrics.identity_descriptor", lambda images: images[..., ::16, 40, 0] / 255)


@pytest.fixture
def copier(monkeypatch):
    """The pipeline of whatever task: one that only copies."""
    pipe = Copier()

    def load(name, device):
        pipe.task = name
        return pipe

    monkeypatch.setattr("facesym.load", load)
    return pipe


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos, a.jpg and b.png, and one of their masks."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for i, name in enumerate(("a.jpg", "b.png")):
        picture(tmp_path / "photos" / name, 50 * i)
        picture(tmp_path / "masks" / f"{name[0]}.png", 200)
    return tmp_path / "photos"
