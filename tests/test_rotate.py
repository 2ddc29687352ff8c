"""Turning heads: pipeline, films, command."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from training import template

import facesym
from facesym import ImageError, ZooError
from facesym.asymmetry import landmark_asymmetry
from facesym.faces.align import align_face, ffhq_transform
from facesym.faces.detect import detect_faces
from facesym.faces.geometry import flip_landmarks, warp_points
from facesym.faces.landmarks import find_points
from facesym.faces.turn import turned_photo, with_detail
from facesym.fit import Fit
from facesym.models import SymmetricEncoder, SymmetricGenerator
from facesym.pipelines import head, rotate
from facesym.pipelines.crops import to_image
from facesym.threads import few_threads


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("generator")
    SymmetricGenerator(first=4, widths=(32, 16, 8, 8), latent=16, asymmetric=4, yaw=True).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def pipe(model):
    return facesym.load(str(model))


@pytest.fixture(scope="module")
def crop(astronaut):
    return align_face(astronaut, ffhq_transform(detect_faces(astronaut)[0].points, 256), 256)


@pytest.fixture(scope="module")
def result(pipe, crop):
    with pytest.warns(UserWarning, match="instead of|same person"):  # an untrained network turns no head
        return pipe(crop, aligned=True, yaw=(-20, 20), frames=5, steps=12)


def test_a_series_of_frames(result):
    (frames,), (yaws,), (fit,) = result.frames, result.yaws, result.fit
    assert len(frames) == len(yaws) == 5
    assert all(frame.size == (128, 128) and frame.mode == "RGB" for frame in frames)
    assert result.images == [frames[-1]] and result.crop[0].size == (128, 128)
    low, high = fit["range"]
    assert low <= min(yaws) <= max(yaws) <= high
    assert {"psnr_before", "psnr", "identity", "yaw", "range", "limit", "seconds"} == set(fit)
    assert fit["psnr"] > fit["psnr_before"]
    assert abs(fit["yaw"]) < 10  # the astronaut looks into the camera


def test_the_way_of_a_turned_head_leads_to_its_mirror_image(pipe, crop):
    fitted = pipe.fit(crop.resize((64, 64)), steps=3)
    assert torch.equal(fitted.latent(0.5)[:, 1:], fitted.fit.z[:, 1:])  # frontal: only the yaw moves
    own = np.asarray(
        fitted.frames([fitted.yaw], detail=False)[0], int
    )  # the fitted face stands at the photo's yaw
    assert np.abs(own - np.asarray(to_image(fitted.fit.after[0]), int)).max() <= 1
    fitted.yaw = -20.0
    fitted.fit.z = fitted.net.turned(fitted.fit.z, -20.0)
    there, back = fitted.latent(-20 / 35), fitted.latent(20 / 35)
    torch.testing.assert_close(there, fitted.fit.z, rtol=0, atol=1e-5)
    torch.testing.assert_close(back, fitted.net.mirrored(fitted.fit.z), rtol=0, atol=1e-5)
    with torch.no_grad():
        middle = fitted.net(fitted.latent(0.0))
    torch.testing.assert_close(middle, middle.flip(-1), rtol=0, atol=1e-4)


def test_a_generator_without_yaw_goes_to_the_mirror_image_too(crop):
    net = SymmetricGenerator("flip", first=4, widths=(16, 8), latent=8).eval()
    fitted = rotate.RotatePipeline(net).fit(crop.resize((16, 16)), steps=2)
    torch.testing.assert_close(fitted.latent(-1.0), fitted.net.mirrored(fitted.fit.z))
    torch.testing.assert_close(fitted.latent(1.0), fitted.fit.z)


@pytest.fixture(scope="module")
def points(crop):
    return find_points(crop).astype(np.float64)


def test_the_photos_pixels_go_where_its_head_is_turned(crop, points):
    picture = np.asarray(crop)
    same, region, trust = turned_photo(picture, points, 3.0, 3.0, mirror=False)
    np.testing.assert_allclose(same, picture, atol=1.5)
    assert trust.min() > 0.99 and region[128, 128] == 1 and region[0].max() == 0
    turned, _, _ = turned_photo(picture, points, 3.0, 15.0, mirror=False)
    found = find_points(Image.fromarray(turned.clip(0, 255).astype(np.uint8)))
    assert 9 < landmark_asymmetry(found)[2] - landmark_asymmetry(points)[2] < 15


@pytest.mark.parametrize("yaw", [20.0, -20.0])
def test_a_turned_photo_becomes_its_mirror_image_and_its_hidden_side_does_so_first(crop, points, yaw):
    picture = np.asarray(crop)
    mirrored = picture[:, ::-1]
    there, _, _ = turned_photo(picture, points, yaw, yaw, mirror=True)
    np.testing.assert_allclose(there, picture, atol=1.5)
    back, _, _ = turned_photo(picture, points, yaw, -yaw, mirror=True)
    np.testing.assert_allclose(back, mirrored, atol=1.5)
    # Halfway each half of the inner face is nearer to the image that shows it: left and right as seen.
    middle, _, _ = turned_photo(picture, points, yaw, 0.0, mirror=True)
    goal = (points + flip_landmarks(points, 256)) / 2  # of both, in the model of turning heads, but for roll
    ways = [warp_points(np.ascontiguousarray(x), p, goal)[0] for x, p in
            ((picture, points), (mirrored, flip_landmarks(points, 256)))]  # fmt: skip
    columns = {"left": slice(80, 112), "right": slice(144, 176)}
    own, other = ("left", "right") if yaw > 0 else ("right", "left")

    def off(side, way):
        return np.abs(middle - ways[way])[100:180, columns[side]].mean()

    assert off(own, 0) < off(own, 1) and off(other, 1) < off(other, 0)


def test_hair_and_background_are_never_a_mix_of_the_photo_and_its_mirror_image():
    """A black photo whose mirror image is white: beside the face, all is one of both."""
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[:, 64:] = 255
    at = template(128)
    for to in np.linspace(20, -20, 9):
        turned, *_ = turned_photo(picture, at, 20.0, to, mirror=True)
        top = turned[4, np.r_[:40, 88:128], 0]  # above the face, beside the edge between black and white
        assert (np.minimum(top, 255 - top) < 2).all(), to


@pytest.mark.parametrize("to", [20.0, -20.0])
def test_ears_turn_with_the_head_and_keep_their_size(to):
    picture, at = np.zeros((256, 256, 3), np.uint8), 40 + template(176)
    unit = np.linalg.norm(at[45] - at[36])
    for jaw, side in ((0, -1), (16, 1)):
        x, y = (int(v) for v in np.round(at[jaw] + (side * 0.18 * unit, 0)))
        cv2.ellipse(picture, (x, y), (round(0.1 * unit), round(0.25 * unit)), 0, 0, 360, (255,) * 3, -1)
    turned = turned_photo(picture, at, 0.0, to, mirror=False)[0]
    for half in (slice(0, 128), slice(128, 256)):
        before, after = (image[:, half, 0] > 127 for image in (picture, turned))
        assert 0.8 < after.sum() / before.sum() < 1.25
        moved = np.argwhere(after).mean(0) - np.argwhere(before).mean(0)
        assert np.sign(moved[1]) == -np.sign(to)  # ears lie behind the axis of the head


def test_detail_is_the_photos_and_light_the_generators():
    rng = np.random.default_rng(0)
    photo = rng.uniform(80, 120, (64, 64, 3)).astype(np.float32)
    made = np.full((32, 32, 3), 115, np.uint8)  # brighter by 15, and smooth
    region = np.zeros((64, 64), np.float32)
    region[8:56, 8:56] = 1
    trust = np.ones((64, 64), np.float32)
    trust[:, :4] = 0
    mixed = with_detail(made, photo, region, trust).astype(float)
    inside = mixed[24:40, 24:40] - photo[24:40, 24:40]
    assert abs(inside.mean() - 15) < 2 and inside.std() < 3  # its light alone has changed
    np.testing.assert_allclose(mixed[:2, 6:], photo[:2, 6:], atol=0.51)  # about the face the photo
    assert (mixed[:, :4] == 115).all()  # where it is not to be trusted, the generator


def made_up_head(monkeypatch, yaws, own=0.0):
    """A FittedHead whose frames' yaws are measured as given, by a network that turns nothing."""
    told = iter(yaws)
    monkeypatch.setattr(head, "find_points", lambda frames: frames)
    monkeypatch.setattr(head, "landmark_asymmetry", lambda points: (None, None, next(told)))
    net = SymmetricGenerator(first=4, widths=(8,), latent=4, asymmetric=2, yaw=True).eval()
    picture = torch.zeros(1, 3, 8, 8)
    fit = Fit(net, net.turned(net.sample(1), own), picture, picture, 0.0)
    return head.FittedHead(fit, own, Image.new("RGB", (8, 8)), None, None)


def test_degrees_are_measured_robustly_and_alike_for_a_photo_and_its_mirror_image(monkeypatch):
    true = np.linspace(-30, 30, rotate.POSITIONS)
    wavering = true + np.random.default_rng(0).normal(0, 2, len(true))
    wavering[0] = 20  # one misread frame
    fitted = made_up_head(monkeypatch, wavering, own=-4.0)
    assert np.abs(fitted.measured - true)[8:].max() < 6 and (np.diff(fitted.measured) >= 0).all()
    other = made_up_head(monkeypatch, -wavering[::-1], own=4.0)
    np.testing.assert_allclose(other.measured, -fitted.measured[::-1], atol=1e-6)
    np.testing.assert_allclose(other.range, [-fitted.range[1], -fitted.range[0]], atol=1e-6)


@pytest.mark.parametrize(("reached", "to"), [(15, 15 + head.BEYOND), (34, head.REACH)])
def test_the_photo_is_warped_a_little_farther_than_the_generator_turns(monkeypatch, reached, to):
    fitted = made_up_head(monkeypatch, np.linspace(-reached, reached, rotate.POSITIONS))
    np.testing.assert_allclose(fitted.range, [-to, to], atol=1e-6)


def test_a_series_is_spread_over_the_range(pipe, crop, monkeypatch):
    def init(self, fit, yaw, *_):
        self.fit, self.yaw, self.range, self.alike = fit, yaw, (-6.0, 3.0), None

    monkeypatch.setattr(head.FittedHead, "__init__", init)
    monkeypatch.setattr(
        head.FittedHead, "frames", lambda self, yaws: [Image.new("RGB", (64, 64))] * len(yaws)
    )
    with pytest.warns(UserWarning, match="from -6° to 3°"):
        result = pipe(crop, aligned=True, yaw=(-20, 20), frames=4, steps=1)
    assert result.yaws == [[-6, -3, 0, 3]]
    (note,) = result.notes
    limit = "further than that it no longer looks like the same person"
    assert note == f"Turned from -6° to 3° instead of -20° to 20°: {limit}."
    assert result.fit[0]["limit"] == limit
    with pytest.warns(UserWarning, match="Turned to 3° instead of 20°"):
        assert pipe(crop, aligned=True, yaw=(-20, 20), frames=1, steps=1).yaws == [[3]]


def test_a_fit_keeps_to_its_time(pipe, crop):
    fitted = pipe.fit(crop, steps=10**6, seconds=6, frames=3)
    assert 3 < fitted.fit.seconds < 8  # alone it ends within 6.6 s; a test may share its core


def test_a_bar_shows_on_a_terminal_unless_the_progress_is_told_or_bars_are_off(
    pipe, crop, capsys, monkeypatch
):
    monkeypatch.setattr(rotate, "POSITIONS", 3)
    monkeypatch.setattr("facesym.fit.STARTS", 8)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe(crop, aligned=True, yaw=5, steps=2)
        assert "Fitting" in capsys.readouterr().err
        pipe(crop, aligned=True, yaw=5, steps=2, progress=lambda *_: None)
        assert "Fitting" not in capsys.readouterr().err
        before = facesym.logging.get_verbosity()
        facesym.logging.set_verbosity("error")
        pipe(crop, aligned=True, yaw=5, steps=2)
        facesym.logging.set_verbosity(before)
    assert "Fitting" not in capsys.readouterr().err


@pytest.mark.parametrize(("cores", "threads"), [(2, 1), (16, 3)])
def test_on_few_cores_one_thread_fits(cores, threads, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with few_threads():
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_overlapping_fits_leave_the_threads_of_others_alone(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2))
    before = torch.get_num_threads()
    torch.set_num_threads(3)

    def count():
        with ThreadPoolExecutor(1) as new:
            return new.submit(torch.get_num_threads).result()

    try:
        with ThreadPoolExecutor(1) as other:
            first, second = few_threads(), few_threads()
            first.__enter__()
            other.submit(second.__enter__).result()
            assert (
                count() == 3 and torch.get_num_threads() == other.submit(torch.get_num_threads).result() == 1
            )
            first.__exit__(None, None, None)
            other.submit(second.__exit__, None, None, None).result()
            assert count() == torch.get_num_threads() == other.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_progress_is_told_and_what_it_raises_ends_the_fit(pipe, crop):
    class Enough(Exception):
        pass

    told = []

    def tell(share, image):
        told.append((share, image))
        if len(told) == 2:
            raise Enough

    with pytest.raises(Enough):
        pipe(crop, aligned=True, steps=100, progress=tell)
    told.clear()
    with pytest.raises(Enough):
        pipe([crop, crop], aligned=True, steps=100, progress=tell, on_error="skip")
    assert len(told) == 2 and told[0][1].size == (64, 64) and 0 < told[0][0] < told[1][0] < 0.5


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_progress_counts_all_faces_of_a_call(pipe, crop, batch_size, monkeypatch):
    monkeypatch.setattr(pipe, "_turn", turn_at_once)
    monkeypatch.setattr(pipe, "_fields", lambda faces: {"frames": [], "yaws": [], "fit": [], "crop": []})
    two, told = Image.new("RGB", (512, 256)), []
    for x in (0, 256):
        two.paste(crop, (x, 0))
    pipe([two, two], faces="all", progress=lambda done, _: told.append(done), batch_size=batch_size)
    assert told == pytest.approx([1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1])


def turn_at_once(face, options, tell):
    """Stands for a fit that tells of its progress twice."""
    face.output = face.crop
    for fraction in (0.5, 1):
        tell(fraction, torch.zeros(1, 3, 8, 8))


def test_another_generators_encoder_is_left_alone(model, monkeypatch):
    encoders = {
        size: SymmetricEncoder(latent=16, asymmetric=4, size=size, widths=(8, 8)) for size in (32, 64)
    }
    net = SymmetricGenerator.from_pretrained(model)
    monkeypatch.setattr(facesym.zoo, "list_models", lambda: [{"task": "encode", "default": True}])
    for size, taken in ((32, False), (64, True)):
        monkeypatch.setattr(facesym.zoo, "load", lambda task, device=None, size=size: encoders[size])
        assert (rotate.RotatePipeline(net).encoder is not None) == taken


@pytest.mark.parametrize(
    "options",
    [
        *({"yaw": yaw} for yaw in ((1, 2, 3), 100, float("nan"), "left", None)),
        *({"frames": 0}, {"frames": 2.5}, {"frames": 10**6}, {"steps": 0}, {"seconds": -1}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(pipe, crop, options):
    with pytest.raises(ImageError, match=r"yaw|frames|seconds"):
        pipe(crop, aligned=True, **options)


def test_no_symmetry_and_crops_that_are_none_are_told(pipe, tmp_path):
    for kind in ("plain", "tile"):
        SymmetricGenerator(kind, first=4, widths=(8, 8)).save_pretrained(tmp_path)
        with pytest.raises(ZooError, match=kind):
            facesym.load(str(tmp_path))
    with pytest.raises(ImageError, match="64 pixels"):
        pipe.fit(Image.new("RGB", (32, 32)))
    with pytest.raises(ImageError, match="square"):
        pipe.fit(Image.new("RGB", (128, 96)))
