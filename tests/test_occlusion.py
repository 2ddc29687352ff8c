"""The automatic mask: the network, what is drawn to train it, and mask="auto"."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from training import ROOT, draw_face, stats, template, train

import facesym
from facesym import ImageError
from facesym.attributes import OCCLUSIONS
from facesym.data.faces import FaceFolders, pick
from facesym.data.occluders import draw_distractors, draw_occluders
from facesym.evaluation.occlusion import compare, draw_marks
from facesym.faces import occlusion
from facesym.faces.find import search_faces
from facesym.faces.load import read_photo
from facesym.faces.occlusion import automatic_kinds
from facesym.models import OcclusionNet
from facesym.pipelines import complete
from train.occlusion import (
    IGNORED_WEIGHT,
    UNKNOWN,
    OcclusionSamples,
    held_out,
    intersection_over_union,
    worn_eyewear,
)


@pytest.fixture
def pipe(tiny_model, monkeypatch):
    """A pipeline whose occlusion network takes green for an object, and for hair what is blue."""

    class Colours(torch.nn.Module):
        config = OcclusionNet(widths=(4, 4), input_size=128).config
        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, image):
            logits = torch.full((len(image), 1 + len(OCCLUSIONS), *image.shape[-2:]), -9.0)
            logits[:, 0] = 0
            for kind, channel in (("object", 1), ("hair", 2)):
                pure = (image[:, channel] > 0.6) & (image.sum(1) < 0)
                logits[:, 1 + OCCLUSIONS.index(kind)][pure] = 9
            return logits

    monkeypatch.setattr(occlusion, "network", Colours)
    return facesym.load(tiny_model)


@pytest.fixture
def covered(astronaut):
    """The astronaut with a green patch over her cheek, and the patch."""
    photo, patch = np.array(astronaut), np.zeros((512, 512), bool)
    patch[120:150, 225:260] = True
    photo[patch] = [0, 255, 0]
    return Image.fromarray(photo), patch


def test_an_automatic_mask_covers_what_hides_the_face_and_little_else(pipe, covered, monkeypatch):
    photo, patch = covered
    searches = []
    for module in (complete, occlusion):
        monkeypatch.setattr(
            module, "search_faces", lambda *a, **k: searches.append(a) or search_faces(*a, **k)
        )
    out = pipe(photo, "auto")
    assert len(searches) == 1
    assert out.mask[patch].mean() > 0.99 and out.mask.sum() < 1.6 * patch.sum()
    assert out.mask_fraction == out.mask.mean()
    assert out.covered[0].keys() == {"object"} and 0.02 < out.covered[0]["object"] < 0.2
    assert pipe(photo, out.mask).covered == [{}]
    with monkeypatch.context() as patched:
        patched.setattr(complete, "read_photo", partial(read_photo, max_pixels=400 * 400))
        found = pipe.find_mask(photo)
    assert found.size == photo.size and np.asarray(found)[patch].mean() > 0.9 * 255
    unchanged = (np.asarray(out.images[0]) == np.asarray(photo)).all(-1)
    assert unchanged[~out.mask].all() and not unchanged[patch].all()
    assert (np.asarray(pipe.find_mask(photo)) == out.mask * 255).all()
    results = pipe([photo, photo], "auto:object")
    assert all((each.mask == out.mask).all() for each in results)


def test_kinds_are_asked_for_by_name(pipe, covered, astronaut):
    photo, _ = covered
    assert automatic_kinds("auto") == [kind for kind in OCCLUSIONS if kind != "hair"]
    assert automatic_kinds("auto:glasses, hair") == ["glasses", "hair"]
    assert automatic_kinds("mask.png") is None and automatic_kinds(photo) is None
    assert automatic_kinds("automatic.png") is None
    with pytest.raises(ImageError, match="unknown kind 'hat'"):
        pipe(photo, "auto:hat")
    with pytest.raises(ImageError, match=r"Found nothing to remove.* for glasses, mask\. .*pass mask="):
        pipe(photo, "auto:glasses,mask")
    with pytest.raises(ImageError, match="Found nothing to remove"):
        pipe(astronaut, "auto")
    with pytest.raises(ImageError, match="must be"):
        pipe.find_mask(photo, "glasses")


def test_the_rim_cuts_little_of_the_visible_face():
    found, face = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    face[8:56, 8:56] = True
    found[30:34, 20:40] = True
    wide = occlusion._with_rim(found, face & ~found, 0.02)
    assert wide[found].all() and (wide & face & ~found).sum() <= 0.02 * (face & ~found).sum()
    outside = np.roll(found, -30, 0)  # beside the face a rim costs nothing
    assert occlusion._with_rim(outside, face & ~outside, 0.02).sum() > 1.8 * outside.sum()


def test_what_is_worn_over_the_eyes_is_eyewear_whatever_the_network_calls_it(monkeypatch):
    points, rows, columns = template(128), *np.mgrid[:128, :128]
    lenses = (abs(rows - points[36:48, 1].mean()) < 10) & (abs(columns - 63) < 36)
    nose = (abs(rows - points[33, 1] - 8) < 8) & (abs(columns - 63) < 12)
    covered = [lenses, nose]

    def found(kind):
        probability = np.zeros((1 + len(OCCLUSIONS), 128, 128), np.float32)
        probability[1 + OCCLUSIONS.index("object")] = np.any(covered, 0)
        probability[0] = 1 - probability[1:].sum(0)
        monkeypatch.setattr(occlusion, "occlusion_probability", lambda _: probability)
        monkeypatch.setattr(occlusion, "find_points", lambda _: points)
        return occlusion.find_occlusion(Image.new("RGB", (128, 128)), [kind])

    for kind in ("glasses", "sunglasses"):
        assert found(kind)[lenses].all() and not found(kind)[int(points[33, 1]) + 8, 63]
    assert not found("mask").any() and found("object")[lenses | nose].all()
    covered[:] = [(columns < 63) & (rows > 20)]  # a hand over half the face, an eye included
    assert not found("glasses").any()


def test_frames_of_clear_glasses_get_the_rim_of_eyewear(monkeypatch):
    points, rows, columns = template(128), *np.mgrid[:128, :128]
    frame = np.zeros((128, 128), bool)
    for eye in (points[36:42], points[42:48]):
        x, y = eye.mean(0)
        frame |= abs(np.hypot(columns - x, rows - y) - 12) < 1
    covered = {}
    for kind in ("glasses", "object"):
        probability = np.zeros((1 + len(OCCLUSIONS), 128, 128), np.float32)
        probability[1 + OCCLUSIONS.index(kind)] = frame
        probability[0] = ~frame
        monkeypatch.setattr(occlusion, "occlusion_probability", lambda _, p=probability: p.copy())
        monkeypatch.setattr(occlusion, "find_points", lambda _: points)
        covered[kind] = occlusion.find_occlusion(Image.new("RGB", (128, 128)), [kind])
    assert covered["glasses"][frame].all() and covered["object"][frame].all()
    assert covered["glasses"].sum() > covered["object"].sum() >= frame.sum()


def test_sunglasses_keep_their_name_when_only_glasses_are_asked_for():
    """Eyewear is of the likelier kind, here one that the names of the requested kinds are too short for."""
    face, lenses = np.ones((2, 64, 64), bool)
    lenses[16:] = False
    channel = {kind: np.zeros((64, 64), np.float32) for kind in OCCLUSIONS}
    channel["sunglasses"][lenses], channel["glasses"][lenses] = 0.9, 0.1
    assert occlusion._fractions(channel, {"glasses"}, lenses, lenses, face) == {"sunglasses": 0.25}


@pytest.mark.parametrize(("doubt", "found"), [(0.2, True), (0.02, False)])
def test_glasses_on_one_side_confirm_a_doubt_on_the_other(monkeypatch, doubt, found):
    points, rows, columns = template(128), *np.mgrid[:128, :128]
    lenses = (abs(rows - points[36:48, 1].mean()) < 10) & (abs(columns - 63.5) < 36)
    left, right = lenses & (columns < 60), lenses & (columns > 67)
    probability = np.zeros((1 + len(OCCLUSIONS), 128, 128), np.float32)
    probability[1 + OCCLUSIONS.index("glasses")] = 0.95 * left + doubt * right
    probability[0] = 1 - probability[1:].sum(0)
    monkeypatch.setattr(occlusion, "occlusion_probability", lambda _: probability)
    monkeypatch.setattr(occlusion, "find_points", lambda _: points)
    mask = occlusion.find_occlusion(Image.new("RGB", (128, 128)), ["glasses"])
    assert mask[left].all() and (mask[right].mean() > 0.9) == found


def find_object(monkeypatch, probability, transparent=None):
    """Find an object of some probability (128x128) on the template's face: 128x128 bool."""
    channels = np.zeros((1 + len(OCCLUSIONS), 128, 128), np.float32)
    channels[0], channels[1 + OCCLUSIONS.index("object")] = 1 - probability, probability
    with monkeypatch.context() as patch:
        patch.setattr(occlusion, "occlusion_probability", lambda _: channels.copy())
        patch.setattr(occlusion, "find_points", lambda _: template(128))
        return occlusion.find_occlusion(Image.new("RGB", (128, 128)), ["object"], transparent)


def test_specks_and_what_is_unsure_are_left(monkeypatch):
    probability = np.zeros((128, 128), np.float32)
    probability[45:47, 60:62] = 1
    probability[60:70, 60:70] = 0.6
    probability[85:95, 60:70] = 0.95
    probability[95:101, 60:70] = 0.6  # beside what is sure
    mask = find_object(monkeypatch, probability)
    assert mask[85:101, 60:70].all() and not mask[:75].any() and mask.sum() < 3 * 160


def test_transparent_pixels_are_not_covered(pipe, covered, monkeypatch):
    probability, transparent = np.zeros((128, 128), np.float32), np.zeros((128, 128), bool)
    transparent[:60, :60] = True
    probability[:63, :63] = 1  # the network sees an object in white pixels, and a little beyond
    assert not find_object(monkeypatch, probability, transparent).any()
    probability[40:52, :80] = 1  # a real one reaches the transparent pixels
    mask = find_object(monkeypatch, probability, transparent)
    assert mask[40:52, 60:80].all() and not mask[70:].any()

    photo, patch = covered
    photo = photo.convert("RGBA")
    alpha = np.full(patch.shape, 255, np.uint8)
    alpha[:, 250:] = 0
    photo.putalpha(Image.fromarray(alpha))
    out = pipe(photo, "auto", faces="all")
    assert out.mask[patch & (alpha > 0)].mean() > 0.9 and not out.mask[alpha == 0].any()


def test_objects_that_the_white_of_transparent_pixels_suggests_are_not_covered(
    pipe, covered, astronaut, monkeypatch
):
    """The network of this test takes the lower part of the face for an object if an eye is white."""
    network = occlusion.network()

    def misled(image):
        logits = network(image)
        white = (image[:, :, 55:80] > 0.99).all(1).flatten(1).sum(1) > 40
        logits[white, 1 + OCCLUSIONS.index("object"), 85:120] = 9
        return logits

    monkeypatch.setattr(
        occlusion, "run_network", lambda net, images, output: misled(torch.tensor(images)).numpy()
    )
    rows, columns = np.mgrid[:512, :512]
    hole = np.hypot(rows - 112, columns - 205) < 14

    def with_hole(photo):
        return Image.fromarray(np.dstack([np.asarray(photo), np.where(hole, 0, 255).astype(np.uint8)]))

    with pytest.raises(ImageError, match="Found nothing to remove"):
        pipe(with_hole(astronaut), "auto")
    photo, patch = covered
    found = np.asarray(pipe.find_mask(with_hole(photo))) > 0
    assert found[patch].mean() > 0.99 and found.sum() < 1.6 * patch.sum()
    on_white = np.where(hole[..., None], np.uint8(255), np.asarray(astronaut))
    assert np.asarray(pipe.find_mask(on_white)).any()  # an opaque white patch counts


@pytest.mark.parametrize("hole", [False, True])
def test_an_object_that_is_cut_off_with_the_background_stays_covered(pipe, crop, monkeypatch, hole):
    """The network of this test takes green for a background if it reaches the border."""
    network = occlusion.network()

    def logits(_, images, __):
        found = network(torch.tensor(images))
        green = found.argmax(1) == 1 + OCCLUSIONS.index("object")
        found[green[:, :, [0, -1]].flatten(1).any(1), 1 + OCCLUSIONS.index("object")] = -9
        return found.numpy()

    monkeypatch.setattr(occlusion, "run_network", logits)
    rows, columns = np.mgrid[:128, :128]
    transparent = np.hypot((columns - 64) / 40, (rows - 64) / 55) > 1
    if hole:
        transparent |= np.hypot(columns - 50, rows - 58) < 6
    patch = columns > 74
    image = np.where(patch[..., None], np.uint8([0, 255, 0]), np.asarray(crop.resize((128, 128))))
    image[transparent] = 255
    found = occlusion.find_occlusion(Image.fromarray(image), ["object"], transparent)
    assert found[patch & ~transparent].mean() > 0.99 and found[~patch].mean() < 0.06
    image[:] = 255  # nothing is opaque
    assert not occlusion.find_occlusion(Image.fromarray(image), ["object"], np.ones_like(patch)).any()


@pytest.mark.parametrize("kind", OCCLUSIONS)
def test_drawn_things_lie_where_their_labels_say(kind):
    points = template(128)
    image = np.asarray(draw_face(np.random.default_rng(0), points, 128))
    for seed in range(4):
        drawn, labels = draw_occluders(np.random.default_rng(seed), image, points, kind)
        again, _ = draw_occluders(np.random.default_rng(seed), image, points, kind)
        assert (drawn == again).all() and drawn.dtype == labels.dtype == np.uint8
        assert set(np.unique(labels)) <= {0, OCCLUSIONS.index(kind) + 1}
        if (labels > 0).any():
            changed = np.abs(drawn.astype(int) - image).mean(-1)
            assert changed[labels > 0].mean() > 1
    shown = draw_distractors(np.random.default_rng(1), image, points)
    assert shown.shape == image.shape and (shown != image).any()


def test_the_network_gives_a_class_a_pixel():
    net = OcclusionNet(widths=(4, 8), input_size=32).eval()
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 1 + len(OCCLUSIONS), 32, 32)
    with pytest.raises(ValueError, match="multiple of 4"):
        OcclusionNet(widths=(4, 8), input_size=30)


def test_it_trains(folders, tmp_path):
    text = train(
        "occlusion.py",
        folders,
        tmp_path,
        "--steps",
        2,
        "--size",
        64,
        "--held-out",
        2,
        "--glasses-in",
        folders[0].name,
    )
    assert "held-out people, IoU" in text and {"kinds", "dice", "val"} <= set(stats(tmp_path)[1])
    assert OcclusionNet.from_pretrained(tmp_path / "model").config.input_size == 64


def test_unknown_pixels_do_not_count_against_the_network(folders):
    """Held-out photos from the web, whose people may wear glasses, have unknown labels around the eyes."""
    faces = FaceFolders([folders[0]], 64)
    args = SimpleNamespace(glasses_in=[folders[0].name], bare_eyes=None)
    samples = held_out(faces, args, 4)
    assert any((each["labels"] == UNKNOWN).any() for each in samples)
    known = torch.stack([each["labels"] for each in samples])

    def perfect(images):
        labels = known[: len(images)]
        labels = torch.where(labels == UNKNOWN, 1, labels)  # it sees something where nothing is known
        return 20 * F.one_hot(labels, 1 + len(OCCLUSIONS)).permute(0, 3, 1, 2).float()

    iou = intersection_over_union(perfect, samples)
    assert iou["hidden"] == pytest.approx(1)
    drawn = [name for k, name in enumerate(OCCLUSIONS, 1) if (known == k).any()]
    assert [iou[name] for name in drawn] == pytest.approx([1] * len(drawn))


def test_eye_regions_are_ignored_unless_they_are_known_to_be_bare(folders):
    faces = FaceFolders([folders[0]], 64)
    names = [f"{row['path'].parent.name}/{row['path'].name}" for row in faces.rows]
    samples = OcclusionSamples(faces, [folders[0].name], set(names[:1]), plain=1)
    unknown = [(samples.sample(i, np.random.default_rng(0))["labels"] == UNKNOWN).any() for i in range(3)]
    assert unknown == [False, True, True]
    drawn = [samples.ignored[pick(samples._cumulative, np.random.default_rng(k))] for k in range(400)]
    known, others = 1, IGNORED_WEIGHT * (len(names) - 1)
    assert np.mean(drawn) == pytest.approx(others / (known + others), abs=0.1)

    class Teacher(torch.nn.Module):
        """Sees glasses in the left half of an image, and is in doubt about the right."""

        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, image):
            logits = torch.zeros(len(image), 1 + len(OCCLUSIONS), *image.shape[-2:])
            side = image.shape[-1] // 2
            logits[0, 1 + OCCLUSIONS.index("glasses"), :, :side] = 9
            logits[1, 1 + OCCLUSIONS.index("glasses"), :, side:] = 9
            return logits

    taught = OcclusionSamples(faces, [folders[0].name], set(names[:1]), Teacher(), plain=1)
    labels = worn_eyewear(taught.teacher, faces.images[1], np.ones((64, 64), bool))
    assert (labels[:, :32] == 1 + OCCLUSIONS.index("glasses")).all() and (labels[:, 32:] != 0).all()
    labels = taught.sample(1, np.random.default_rng(0))["labels"]
    assert (labels == 1 + OCCLUSIONS.index("glasses")).any()

    bare = (ROOT / "train" / "bare_eyes.txt").read_text().split()
    plain = (ROOT / "tests" / "data" / "unoccluded.txt").read_text().split()
    marked = json.loads((ROOT / "tests" / "data" / "occlusions.json").read_text())
    assert (
        len(bare) > 3000
        and len(plain) > 300
        and not set(bare) & {*plain, *marked}
        and not set(plain) & set(marked)
    )


def test_marks_are_drawn_and_compared():
    square = {"kind": "mask", "fill": [[[64, 64], [191, 64], [191, 191], [64, 191]]]}
    mask = draw_marks([square], 128)
    assert mask[40, 40] and not mask[20, 40] and 60**2 < mask.sum() < 68**2
    hole = {"kind": "mask", "fill": [*square["fill"], [[100, 100], [150, 100], [150, 150], [100, 150]]]}
    assert not draw_marks([hole], 128)[62, 62]
    face = np.ones((128, 128), bool)
    assert compare(mask, mask, face)["iou"] == 1 and compare(mask, mask, face)["cut"] == 0
    nothing = compare(~face, mask, face)
    assert nothing["missed"] == 1 and nothing["iou"] == nothing["recall"] == 0
    more, before = mask.copy(), np.zeros_like(mask)
    more[:20], before[:10] = True, True  # half of what is too much was there before
    cut = compare(more, mask, face, before)
    assert cut["cut"] == 2 * cut["before"] == 20 * 128 / (~mask).sum()
    marks = json.loads((ROOT / "tests" / "data" / "occlusions.json").read_text())
    assert len(marks) >= 30 and {each["kind"] for shapes in marks.values() for each in shapes} <= set(
        OCCLUSIONS
    )
