"""Symmetry by architecture: exact for any weights, in any mode and precision."""

import pytest
import torch

from facesym.data.augment import augment
from facesym.fit import fit_and_tune, sweep
from facesym.models import SymmetricDiscriminator, SymmetricGenerator
from facesym.models.layers import (
    AntisymmetricMap,
    SymmetricConv2d,
    SymmetricConvTranspose2d,
    SymmetricMap,
    fold_symmetric,
    unfold_antisymmetric,
    unfold_symmetric,
)

TINY = dict(first=4, widths=(16, 8, 8), latent=12, asymmetric=3)


def mirror(x):
    return x.flip(-1)


def rounding(dtype):
    return 1e-5 if dtype == torch.float32 else 1e-13


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["train", "eval"])
def training(request):
    return request.param


def scramble(net, dtype):
    """Weights and running statistics far from where they started."""
    torch.manual_seed(1)
    for tensor in [*net.parameters(), *net.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(
                torch.rand_like(tensor) + 0.1 if tensor.ndim == 1 else torch.randn_like(tensor) * 0.2
            )
    return net.to(dtype)


@pytest.mark.parametrize(
    "kernel, stride, width", [(5, 1, 7), (5, 1, 8), (5, 2, 9), (4, 2, 8), (6, 2, 10), (3, 1, 6)]
)
def test_convolutions_of_mirrored_maps_are_mirrored(kernel, stride, width, dtype):
    x = torch.randn(2, 3, 6, width, dtype=dtype)
    for kind in (SymmetricConv2d, SymmetricConvTranspose2d):
        layer = kind(3, 4, kernel, stride, (kernel - 1) // 2).to(dtype)
        torch.testing.assert_close(layer(mirror(x)), mirror(layer(x)), rtol=0, atol=rounding(dtype))
        assert not torch.allclose(layer(mirror(x)), layer(x), atol=1e-2)


def test_a_grid_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="even kernel"):
        SymmetricConv2d(1, 1, 5, 2, 2)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="even"):
        SymmetricGenerator(kernel=5)


def test_a_kernel_has_fifteen_free_numbers_of_twenty_five():
    layer = SymmetricConv2d(1, 1, 5)
    assert layer.free.numel() == 15 and layer.weight.shape == (1, 1, 5, 5)
    assert torch.equal(layer.weight, mirror(layer.weight))
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    (layer(torch.randn(4, 1, 9, 9)) ** 2).sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, mirror(layer.weight))


def test_unfolding_and_folding_as_in_the_paper():
    half = torch.tensor([[1.0, 2.0, 3.0]])
    assert unfold_symmetric(half, 5).tolist() == [[1, 2, 3, 2, 1]]
    assert unfold_symmetric(half, 6).tolist() == [[1, 2, 3, 3, 2, 1]]
    assert unfold_antisymmetric(half[:, :2], 5).tolist() == [[1, 2, 0, -2, -1]]
    assert unfold_antisymmetric(half, 6).tolist() == [[1, 2, 3, -3, -2, -1]]
    assert fold_symmetric(torch.tensor([[1.0, 2, 3, 4, 5]])).tolist() == [[6, 6, 6]]
    assert fold_symmetric(torch.tensor([[1.0, 2, 3, 4]])).tolist() == [[5, 5]]
    assert SymmetricMap(7, 512, 5).linear.out_features == 7680
    assert AntisymmetricMap(5, 512, 5).linear.out_features == 5120
    assert AntisymmetricMap(5, 8, 4).linear.bias is None


@pytest.mark.parametrize("first", [4, 5])
@pytest.mark.parametrize("kind", ["zprime", "flip"])
def test_the_latent_sets_the_symmetry(kind, first, dtype, training):
    net = scramble(SymmetricGenerator(kind, **TINY | {"first": first}), dtype).train(training)
    z = net.sample(6).to(dtype)
    with torch.no_grad():
        middle, one, other = net(net.between(z, 0.5)), net(z), net(net.mirrored(z))
    tolerance = rounding(dtype) * 10
    assert one.shape == (6, 3, first * 8, first * 8)
    torch.testing.assert_close(middle, mirror(middle), rtol=0, atol=tolerance)
    torch.testing.assert_close(other, mirror(one), rtol=0, atol=tolerance)
    assert not torch.allclose(one, mirror(one), atol=1e-2)


def test_plain_is_not_symmetric():
    net = scramble(SymmetricGenerator("plain", **TINY), torch.float32).eval()
    with torch.no_grad():
        middle = net(net.between(net.sample(2), 0.5))
    assert not torch.allclose(middle, mirror(middle), atol=1e-2)


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("size", [32, 40])
def test_the_discriminator_does_not_see_which_way(size, spectral, dtype, training):
    net = SymmetricDiscriminator(size=size, widths=(8, 16, 16), spectral=spectral).to(dtype).train(training)
    x = torch.randn(4, 3, size, size, dtype=dtype)
    with torch.no_grad():
        net(x)  # spectral norm's power iterations move in training
        net.eval() if spectral else None
        torch.testing.assert_close(net(mirror(x)), net(x), rtol=0, atol=rounding(dtype) * 10)
    plain = SymmetricDiscriminator(False, size, (8, 16, 16), spectral=spectral).to(dtype).eval()
    with torch.no_grad():
        assert not torch.allclose(plain(mirror(x)), plain(x), atol=1e-6)


def test_the_papers_sizes():
    paper = SymmetricGenerator(first=5, kernel=6)
    assert paper.size == 80 and paper.config.latent == 100 and paper.config.asymmetric == 5
    assert SymmetricGenerator().size == 128
    folded = SymmetricDiscriminator(size=80, kernel=6).out
    assert folded.in_features == 7680


def test_save_and_load_keep_the_symmetry(tmp_path):
    net = scramble(SymmetricGenerator(**TINY), torch.float32).eval()
    net.save_pretrained(tmp_path, dtype=torch.float16)
    again = SymmetricGenerator.from_pretrained(tmp_path)
    z = again.sample(2)
    with torch.no_grad():
        torch.testing.assert_close(again(again.mirrored(z)), mirror(again(z)), rtol=0, atol=1e-4)


def test_augmentation_moves_recolours_and_cuts_each_picture_and_lets_gradients_through():
    x = torch.rand(16, 3, 32, 32) * 2 - 1
    x.requires_grad_(True)
    out = augment(x, torch.Generator().manual_seed(0))
    out.sum().backward()
    assert out.shape == x.shape and x.grad.abs().sum() > 0
    gone = (out == 0).all(1).float().mean((1, 2))
    assert gone.min() > 0.02 and 0.1 < gone.mean() < 0.4 and gone.std() > 0.02
    ramp = torch.linspace(-1, 1, 32).expand(8, 3, 32, 32)
    moved = augment(ramp, torch.Generator().manual_seed(1), cut=0)
    kept = moved[:, 0, 16][:, 6:26]
    assert (kept.diff(dim=1) > 0).all()  # in order still: shifted and recoloured, not shuffled
    assert kept[:, 0].std() > 0.1


def test_fit_and_tune_finds_a_picture_and_turns_it_into_its_mirror_image():
    net = scramble(SymmetricGenerator(**TINY), torch.float32).eval().requires_grad_(False)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    ramp = torch.linspace(-0.6, 0.6, 32).expand(1, 3, 32, 32)
    picture = 0.7 * net(net.sample(1)) + 0.3 * ramp  # not one of its own, nor symmetric
    told = []
    fit = fit_and_tune(
        net, picture, fit_steps=40, tune_steps=150, progress=lambda share, image: told.append(share)
    )
    assert fit.after < 0.7 * fit.before
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())  # the original is untouched
    assert told == sorted(told) and told[-1] > 0.9
    frames = sweep(fit.generator, fit.z, [0, 0.5, 1])
    torch.testing.assert_close(frames[2], mirror(frames[0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames[1], mirror(frames[1]), rtol=0, atol=1e-4)
    assert (fit.z.abs() < 1.5).all()


def test_fit_can_be_stopped_and_keeps_to_its_time():
    net = SymmetricGenerator(**TINY).eval()
    picture = torch.zeros(1, 3, 32, 32)
    fit = fit_and_tune(net, picture, fit_steps=10**6, tune_steps=10**6, seconds=1.5)
    assert fit.seconds < 15
    calls = []
    fit_and_tune(net, picture, fit_steps=10**6, tune_steps=10**6, progress=lambda *a: calls.append(a) or True)
    assert len(calls) == 2  # one in each step
