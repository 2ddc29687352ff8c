"""The completion pipeline: what comes back, what stays untouched, and what is refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

import facesym
from facesym import ImageError, ZooError
from facesym.faces.detect import detect_faces


@pytest.fixture(scope="module")
def pipe(tiny_model):
    return facesym.load(tiny_model)


def test_only_the_hole_changes(pipe, astronaut, eye_hole):
    out = pipe(astronaut, eye_hole)
    before, after = np.asarray(astronaut), np.asarray(out.images[0])
    assert out.images[0].size == astronaut.size
    assert (after[~eye_hole] == before[~eye_hole]).all()
    assert (after[eye_hole] != before[eye_hole]).any(axis=-1).mean() > 0.5
    (face,) = out.faces
    assert face.points.shape == (5, 2) and 0 < face.score <= 1
    (confidence,), (stages,) = out.confidence, out.stages
    assert confidence.shape == (128, 128) and 0 <= confidence.min() <= confidence.max() <= 1
    assert [stage.size for stage in stages] == [(128, 128)] * 3
    assert out.mask_fraction == pytest.approx(eye_hole.mean())


@pytest.mark.parametrize("side", [60, 128, 220, 900])
def test_what_the_hole_hides_has_no_influence(pipe, astronaut, side):
    """Not even through the kernels that shrink or enlarge the photo to the crop."""
    photo = np.asarray(astronaut.crop((110, 10, 330, 230)).resize((side, side)))
    hole = np.zeros((side, side), bool)
    hole[side * 4 // 11 : side * 6 // 11, side * 3 // 11 : side * 7 // 11] = True
    green, pink = (np.where(hole[..., None], np.uint8(c), photo) for c in ([0, 255, 0], [255, 0, 255]))
    one, other = (pipe(p, hole, aligned=True).images[0] for p in (green, pink))
    assert one.tobytes() == other.tobytes()


def test_aligned_crops_and_paste_false(pipe, astronaut, eye_hole):
    crop = pipe(astronaut, eye_hole, paste=False).images[0]
    assert crop.size == (128, 128)
    hole = np.zeros((300, 300), bool)
    hole[100:150, 60:120] = True
    square = crop.resize((300, 300))
    out = pipe(square, hole, aligned=True)
    assert out.images[0].size == (300, 300) and out.faces == []
    assert (np.asarray(out.images[0])[~hole] == np.asarray(square)[~hole]).all()
    assert pipe(square, hole, aligned=True, paste=False).images[0].size == (128, 128)
    small, pixels = np.asarray(Image.fromarray(hole).resize((128, 128))), np.asarray(crop)
    own = np.asarray(pipe(crop, small, aligned=True, paste=False).images[0])
    assert (own[~small] == pixels[~small]).all() and (own[small] != pixels[small]).any()


def test_a_face_without_visible_pixels_is_left_out_of_a_group(pipe, pair):
    mask = np.zeros((512, 812), bool)
    mask[:, :240] = True  # all of the small face
    with pytest.raises(ImageError, match="covers the whole face"):
        pipe(pair, mask, faces=0)
    mask[100:110, 500:540] = True
    with pytest.warns(UserWarning, match="1 face is covered entirely by the mask"):
        out = pipe(pair, mask, faces="all")
    assert len(out.faces) == 1 and out.faces[0].box[0] > 300


def test_each_face_of_a_group(pipe, pair):
    both = np.zeros((512, 812), bool)
    both[160:176, 110:130] = True  # the small face
    both[95:130, 490:525] = True  # the large one
    out = pipe(pair, both, faces="all")
    assert len(out.faces) == 2 and len(out.stages) == 2 and len(out.confidence) == 2
    before, after = np.asarray(pair), np.asarray(out.images[0])
    for part in (np.s_[160:176, 110:130], np.s_[95:130, 490:525]):
        assert (before[part] != after[part]).any()
    assert (after[~both] == before[~both]).all()
    with pytest.warns(UserWarning, match="was not filled"):
        largest = np.asarray(pipe(pair, both).images[0])
    assert (largest[160:176, 110:130] == before[160:176, 110:130]).all()
    assert (largest[95:130, 490:525] != before[95:130, 490:525]).any()


def test_the_mask_says_which_face_was_meant(pipe, pair):
    small = np.zeros((512, 812), bool)
    small[160:176, 110:130] = True
    with pytest.raises(ImageError, match="faces=0"):
        pipe(pair, small)
    assert len(pipe(pair, small, faces=0).faces) == 1
    assert len(pipe(pair, small, faces="all").faces) == 1


def test_a_face_hidden_from_the_detector_is_looked_for_again(pipe, astronaut, monkeypatch, eye_hole):
    from facesym.faces import find

    real, seen = find.detect_boxes, []

    def look_again(photo, coarse):
        seen.append(photo)
        return real(photo, coarse) if len(seen) == 2 else []

    monkeypatch.setattr(find, "detect_boxes", look_again)
    assert len(pipe(astronaut, eye_hole).faces) == 1
    assert (np.asarray(seen[1])[~eye_hole] == np.asarray(astronaut)[~eye_hole]).all()


def test_a_photo_is_searched_once_if_its_mask_hides_no_other_face(pipe, astronaut, monkeypatch, eye_hole):
    from facesym.faces import detect

    real, seen = detect._detect_in, []

    def count(image, size):
        seen.append(max(image.size))
        return real(image, size)

    monkeypatch.setattr(detect, "_detect_in", count)
    large = astronaut.resize((1300, 1300))
    there = np.array(Image.fromarray(eye_hole).resize(large.size))
    pipe(large, there)
    assert seen == [640, 320]
    there[700:800, 100:300] = True  # a face may be hidden here
    with pytest.warns(UserWarning, match="without the network"):
        pipe(large, there)
    assert seen[2:] == 2 * [640, 320]
    pipe(large, there, faces="all")
    assert seen[6:] == 2 * [1280, 640, 320]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((512, 512), bool), "empty"),
        (np.ones((512, 512), bool), "whole photo"),
        (np.pad(np.ones((300, 380), bool), ((0, 212), (30, 102))), "whole face"),
        (np.ones((100, 512), bool), "512x100 pixels and the photo 512x512"),
        (np.pad(np.ones((20, 20), bool), ((492, 0), (0, 492))), "does not touch"),
        (~np.pad(np.ones((30, 90), bool), ((100, 382), (180, 242))), "inverted: it marks 99%"),
    ],
)
def test_masks_that_cannot_be_meant(pipe, astronaut, mask, words):
    with pytest.raises(ImageError, match=words):
        pipe(astronaut, mask)


@pytest.mark.filterwarnings("ignore:.*without the network")
@pytest.mark.parametrize("aligned", [False, True])
def test_a_mask_of_all_but_the_face_is_not_inverted(pipe, astronaut, crop, aligned):
    photo = crop if aligned else astronaut
    mask = np.ones((photo.height, photo.width), bool)
    mask[np.s_[20:105, 20:105] if aligned else np.s_[40:220, 150:300]] = False
    done = pipe(photo, mask, aligned=aligned).images[0]
    assert (np.asarray(done)[~mask] == np.asarray(photo)[~mask]).all()


def test_models_without_a_pipeline_are_named():
    with pytest.raises(ZooError, match="LandmarkNet"):
        facesym.load("landmarks")
    with pytest.raises(ZooError):
        facesym.load("no-such-model")


def test_a_large_photo_gets_its_own_detail_in_the_copied_half(monkeypatch):
    """A symmetric, finely striped face eight times the network's size: half hidden, its stripes come back."""
    import torch

    from facesym.models import SymmFCNet
    from facesym.pipelines.complete import CompletePipeline

    monkeypatch.setattr(
        "facesym.pipelines.complete.head_pose", lambda points: (0.0, 0.0)
    )  # stripes have none
    torch.manual_seed(0)
    net = SymmFCNet.preset("tiny", input_size=128).eval()
    # A face everywhere, a copy that is fully trusted, and a RecNet that hands it on.
    for layer, bias in [(net.masknet.out, 20.0), (net.confidence.layers[4], 20.0), (net.recnet.out[0], 0.0)]:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.constant_(layer.bias, bias)
    torch.nn.init.zeros_(net.lightnet.out.weight)
    side = 512
    stripes = (np.arange(side) // 2 % 2 * 120 + 60).astype(
        np.uint8
    )  # finer than the network's pixels, which are 4 wide
    photo = np.repeat(np.tile(stripes[:, None], (1, side))[..., None], 3, 2)
    hole = np.zeros((side, side), bool)
    hole[100:400, 60:200] = True
    done = np.asarray(CompletePipeline(net)(photo, hole, aligned=True).images[0]).astype(int)
    inner = np.s_[150:350, 90:170]
    contrast = done[inner].std(axis=0).mean()
    assert contrast > 0.6 * photo[inner].std(axis=0).mean()
    assert np.abs(done[inner].mean() - 120) < 10


def test_a_face_hidden_from_the_detector_beside_a_visible_one_is_completed(pipe, pair):
    """Its hole says that it is there: it is looked for again without what hides it."""
    photo, hole = np.array(pair), np.zeros((512, 812), bool)
    hole[150:190, 90:170] = True  # over the left face, brows to nose
    photo[hole] = 30
    assert len(detect_faces(Image.fromarray(photo))) == 1
    out = pipe(photo, hole, faces="all")
    assert len(out.confidence) == 1 and len(out.faces) == 1 and out.faces[0].box[0] < 300
    assert (np.asarray(out.images[0])[hole] != photo[hole]).any(-1).mean() > 0.9


def test_a_dark_rim_outside_the_mask_does_not_darken_the_fill(astronaut):
    """The last pixels of the sunglasses, which a painted mask leaves: with the released model."""
    released = facesym.load("complete")
    hole = np.zeros((512, 512), bool)
    hole[100:130, 190:262] = True
    rim = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3))).astype(bool) & ~hole
    photo = np.asarray(astronaut)
    clean = np.asarray(released(photo, hole).images[0]).astype(int)
    dark = np.where(rim[..., None], np.uint8(15), photo)
    assert np.abs(np.asarray(released(dark, hole).images[0]) - clean)[hole].mean() < 12


@pytest.mark.parametrize("side", [512, 1536])
def test_hair_is_filled_as_rough_as_hair_is(astronaut, monkeypatch, side):
    """Also in a photo that shows the face larger than the network sees it."""
    y, x = np.mgrid[:512, :512]
    hole = np.hypot(x - 168, y - 70) < 24  # over the hair on the image's left
    photo, hole = astronaut.resize((side, side)), Image.fromarray(hole).resize((side, side))
    pipe, roughness = facesym.load("complete"), {}
    nothing = (np.zeros((0, 2), int),) * 2
    for name, found in (("texture", None), ("smooth", lambda *_: nothing)):
        if found:
            monkeypatch.setattr("facesym.pipelines.complete.find_texture", found)
        done = np.asarray(pipe(photo, hole).images[0].resize((512, 512)).convert("L"))
        roughness[name] = cv2.Laplacian(done, cv2.CV_64F)[58:82, 156:180].std()
    before = cv2.Laplacian(np.asarray(astronaut.convert("L")), cv2.CV_64F)[58:82, 156:180].std()
    assert roughness["smooth"] < 0.4 * before < roughness["texture"] < 2 * before, (roughness, before)
