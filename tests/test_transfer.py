"""The transfer pipeline."""

import numpy as np
import pytest
import torch

import facesym
from facesym import ImageError
from facesym.models.lssl import GROUPS
from facesym.pipelines.crops import to_image


@pytest.fixture(scope="module")
def model(saved):
    return saved("AttributeGenerator")


def test_a_photo_is_changed_by_the_strength_asked_for(model, astronaut):
    pipe = facesym.load(str(model))
    result = pipe(astronaut, to=["happy", "dark"], grid=True)
    assert (
        result.images[0].size == result.crop[0].size and result.crop[0].width > 64
    )  # the photo's own pixels
    assert list(result.grid[0]) == [name for names in GROUPS.values() for name in names]
    assert len(result.identity) == 1
    none = np.asarray(pipe(astronaut, to="happy", strength=0).images[0], int)
    full = np.asarray(pipe(astronaut, to="happy").images[0], int)
    assert np.abs(none - full).max() > 0


def test_a_changed_expression_leaves_what_is_outside_the_face(model, astronaut):
    pipe = facesym.load(str(model))
    for to, rest in (("happy", True), (["happy", "dark"], False)):
        result = pipe(astronaut, to=to)
        same = (np.asarray(result.images[0]) == np.asarray(result.crop[0])).all(-1)
        side = len(same)
        assert same[: side // 20].all() == same[:, : side // 20].all() == rest  # the top, and the left
        assert same[side // 2 : side * 3 // 4, side * 2 // 5 : side * 3 // 5].mean() < 0.2


def test_an_expression_is_given_to_the_result_again_and_nothing_else_is(model, astronaut):
    pipe = facesym.load(str(model))
    crop = pipe(astronaut, to="happy").crop[0].resize((64, 64))
    ways = [
        {"expression": "happy"},
        {"light": "dark"},
        {"pose": "left 20"},
        {"expression": "happy", "light": "dark"},
    ]
    once = pipe.run(crop, crop, ways)
    pipe.net.register_to_config(passes=2)
    twice = pipe.run(crop, crop, ways)
    assert [a == b for a, b in zip(once, twice)] == [False, True, True, False]
    net, seen = pipe.net, []
    net.encoder.register_forward_hook(lambda layer, given, found: seen.append(given[0].clone()))
    (made,) = pipe.run(crop, crop, ways[3:])
    # The second time it sees its result and where it says that the landmarks are, and is asked for no light.
    first, second = seen
    with torch.inference_mode():
        result = net.decode(net.encoder(first), net.attributes(ways[3]), first[:, :3])
        wanted = net(result.image, result.condition, net.attributes(ways[0])).image
    assert torch.allclose(second, torch.cat([result.image, 2 * result.condition - 1], 1), atol=1e-5)
    assert np.abs(np.asarray(made) - np.asarray(to_image(wanted[0])).astype(int)).max() <= 1


def test_what_makes_no_sense_is_refused(model, astronaut):
    pipe = facesym.load(str(model))
    for options, told in (
        ({"to": "grumpy"}, "expression: neutral"),
        ({"to": ["happy", "neutral"]}, "exclude each other"),
        ({}, "Name a target"),
        ({"to": "happy", "strength": 2}, "strength"),
        ({"to": "happy", "strength": "much"}, "strength"),
    ):
        with pytest.raises(ImageError, match=told):
            pipe(astronaut, **options)
