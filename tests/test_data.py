"""The stream of samples, masks, and what is never read."""

import numpy as np
from training import template

from facesym.data.faces import FaceFolders, left_out, read_metadata
from facesym.data.masks import random_mask


def test_the_stream_depends_on_seed_and_number_alone(folders):
    from facesym.data.complete import CompletionSamples

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
