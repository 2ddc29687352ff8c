"""The comparison of turned heads with the person's own photos."""

import numpy as np
import pytest
from training import draw_face, template

from facesym.evaluation import views
from facesym.evaluation.views import measure_views, view_pairs


@pytest.fixture
def folder(tmp_path):
    """Three people: one with both sides, one with a profile only, one without a frontal photo."""
    rng, points = np.random.default_rng(0), []
    rows = ["file_name,subject,split,expression,view,yaw"]
    for subject, seen in enumerate((("front", "left", "right"), ("front", "profile"), ("left", "right"))):
        for view in seen:
            yaw = {"front": 1, "left": -40, "right": 46, "profile": 85}[view]
            points.append(template(256))
            draw_face(rng, points[-1], 256).save(tmp_path / f"{subject}-{view}.webp")
            rows.append(f"{subject}-{view}.webp,{subject},test,neutral,{view},{yaw}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    np.save(tmp_path / "landmarks.npy", np.stack(points).astype(np.float32))
    return tmp_path


def test_people_are_compared_from_the_sides_that_their_photos_show(folder):
    pairs = view_pairs([folder])
    assert [(front["view"], side["view"], pose) for front, side, pose in pairs] == [
        ("front", "left", "left 45"),
        ("front", "right", "right 45"),
    ]


def test_turned_heads_are_compared_with_the_persons_own(folder, quick_descriptor, monkeypatch):
    class Same:
        size = 128

        def run(self, small, crop, ways, strengths):
            assert small.width == 128 and crop.width == 256 and ways[0]["pose"] in views.TURNS
            return [crop]

    monkeypatch.setattr("facesym.metrics.lpips", lambda a, b, _: np.abs(a.astype(float) - b).mean((1, 2, 3)))
    monkeypatch.setattr(views, "turn_to", lambda image, *_: (np.zeros_like(image), None))
    photo, mesh, model = measure_views({"same": Same()}, None, [folder], None)
    assert (photo["row"], mesh["row"], model["row"]) == ("unchanged photo", "mesh", "same")
    assert model == photo | {"row": "same"} and model["photos"] == 2
    assert mesh["lpips"] > model["lpips"] > 0 and mesh["sharpness"] == 0
