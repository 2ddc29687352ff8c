"""Symmetry by architecture: exact for any weights, in any mode and precision."""

import pytest
import torch

from facesym.data.augment import augment
from facesym.fit import fit_and_tune
from facesym.models import SymmetricDiscriminator, SymmetricEncoder, SymmetricGenerator
from facesym.models.layers import (
    AntisymmetricMap,
    SymmetricConv2d,
    SymmetricConvTranspose2d,
    SymmetricMap,
    fold_symmetric,
    symmetric_spectral_norm,
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
    with pytest.raises(ValueError, match="yaw"):
        SymmetricGenerator("flip", yaw=True)


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
    root = 2**0.5
    torch.testing.assert_close(
        fold_symmetric(torch.arange(1.0, 6)[None]), torch.tensor([[6 / root, 6 / root, 3]])
    )
    torch.testing.assert_close(
        fold_symmetric(torch.arange(1.0, 5)[None]), torch.tensor([[5 / root, 5 / root]])
    )


def operator_norm(layer, shape):
    """The largest factor by which a linear map stretches a tensor, by power iteration."""
    zero, x = layer(torch.zeros(1, *shape)), torch.randn(1, *shape, requires_grad=True)
    for _ in range(200):
        y = layer(x) - zero
        (x,) = torch.autograd.grad(y, x, y.detach())
        x = (x / x.norm()).detach().requires_grad_(True)
    return (layer(x) - zero).norm().item()


@pytest.mark.parametrize("kernel", [4, 5, 6])
def test_the_spectral_norm_is_that_of_the_unfolded_kernel(kernel):
    """Laid without overlap, a kernel's operator norm is its norm as a matrix."""
    torch.manual_seed(0)
    layer = symmetric_spectral_norm(SymmetricConv2d(3, 8, kernel, stride=kernel))
    for _ in range(100):
        layer(torch.zeros(1, 3, kernel, kernel))  # the power iteration behind the norm moves with each call
    assert operator_norm(layer.eval(), (3, kernel, 2 * kernel)) == pytest.approx(1, abs=1e-4)
    assert (layer.weight == mirror(layer.weight)).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_discriminators_layers_have_norm_one(symmetric):
    torch.manual_seed(0)
    net = SymmetricDiscriminator(symmetric, size=32, widths=(8, 16, 16))
    for _ in range(100):
        net(torch.zeros(1, 3, 32, 32))
    net.eval()
    for layer in net.layers[::2]:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert norm == pytest.approx(1, abs=1e-3)

    def last(x):
        return net.out((fold_symmetric(x) if symmetric else x).flatten(1))

    assert operator_norm(last, (16, 4, 4)) == pytest.approx(1, abs=1e-3)


def test_released_generators_are_not_normalized():
    """Their state dicts hold the free numbers alone, and load as they are."""
    for net in (SymmetricGenerator(**TINY), SymmetricEncoder(size=32, widths=(8, 8))):
        assert not any("parametrizations" in name for name in net.state_dict())
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


@pytest.mark.parametrize("kernel", [4, 6])
def test_tiles_have_no_seam(kernel, dtype, training):
    """Rolling the first map rolls the image: its rim is like any other place of it."""
    net = scramble(SymmetricGenerator("tile", **TINY, kernel=kernel), dtype).train(training)
    x = torch.randn(3, 16, 4, 4, dtype=dtype)
    with torch.no_grad():
        picture, rolled = net.layers(x), net.layers(x.roll((1, 2), (2, 3)))
        assert net(net.sample(3).to(dtype)).shape == picture.shape == (3, 3, 32, 32)
    torch.testing.assert_close(rolled, picture.roll((8, 16), (2, 3)), rtol=0, atol=rounding(dtype) * 10)
    plain = scramble(SymmetricGenerator("plain", **TINY, kernel=kernel), dtype).eval()
    with torch.no_grad():
        rolled = plain.layers(x.roll((1, 2), (2, 3)))
        assert not torch.allclose(rolled, plain.layers(x).roll((8, 16), (2, 3)), atol=1e-2)


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


@pytest.mark.parametrize("kind", ["zprime", "flip"])
def test_the_encoder_mirrors_with_the_picture(kind, dtype, training):
    sizes = dict(latent=12, asymmetric=3)
    encoder = scramble(SymmetricEncoder(kind, size=32, widths=(8, 8, 16), **sizes), dtype).train(training)
    generator = SymmetricGenerator(kind, **TINY).to(dtype)
    x = torch.randn(4, 3, 32, 32, dtype=dtype)
    with torch.no_grad():
        code, other = encoder(x), encoder(mirror(x))
    torch.testing.assert_close(other, generator.mirrored(code), rtol=0, atol=rounding(dtype) * 100)
    assert not torch.allclose(other, code, atol=1e-2)
    torch.testing.assert_close(
        encoder.uniform(other), generator.mirrored(encoder.uniform(code)), rtol=0, atol=rounding(dtype) * 100
    )
    spread = encoder.spread()[None]
    torch.testing.assert_close(generator.mirrored(spread).abs(), spread.abs())


def test_normal_codes_become_uniform_latents():
    z = SymmetricEncoder.uniform(torch.randn(20000, generator=torch.Generator().manual_seed(0)))
    assert z.abs().max() <= 1
    torch.testing.assert_close(torch.histc(z, 10, -1, 1) / 2000, torch.ones(10), rtol=0, atol=0.1)


def test_samples_are_uniform_or_nearer_to_the_middle():
    net = SymmetricGenerator(**TINY)

    def draw(spread):
        return net.sample(4000, torch.Generator().manual_seed(0), spread)

    z, near = draw(1.0), draw(0.5)
    assert z.abs().max() <= 1 and abs(z.std() - 3**-0.5) < 0.01
    normal = torch.erfinv(near.double().clamp(-0.9999, 0.9999)) * 2**0.5
    assert abs(normal.std() - 0.5) < 0.01 and (near.sign() == z.sign()).all()


def test_samples_are_spread_as_the_codes_given_and_their_mirror_images():
    net = SymmetricGenerator(**TINY)
    codes = (
        0.5
        * torch.randn(5000, 12, generator=torch.Generator().manual_seed(0))
        @ torch.randn(12, 12)
        / 12**0.5
    )
    codes = codes + torch.linspace(-0.5, 0.5, 12)
    net.set_prior(codes)
    z = net.sample(20000, torch.Generator().manual_seed(1))
    drawn = torch.erfinv(z.clamp(-0.9999, 0.9999)) * 2**0.5
    wanted = torch.cat([codes, net.mirrored(codes)])
    torch.testing.assert_close(drawn.mean(0), wanted.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.T.cov(), wanted.T.cov(), rtol=0, atol=0.03)
    assert drawn.mean(0)[:3].abs().max() < 0.02  # z′ has no side


def test_a_latent_with_yaw_is_turned():
    net = SymmetricGenerator(**TINY, yaw=True).eval()
    z = net.sample(5)
    turned = net.turned(z, 14.0)
    torch.testing.assert_close(net.yaw_of(turned), torch.full((5,), 14.0), rtol=0, atol=1e-3)
    assert torch.equal(turned[:, 1:], z[:, 1:])
    torch.testing.assert_close(net.turned(z, net.yaw_of(z)), z, rtol=0, atol=1e-3)
    torch.testing.assert_close(net.yaw_of(net.mirrored(z)), -net.yaw_of(z))


def test_the_papers_sizes():
    paper = SymmetricGenerator(first=5, kernel=6)
    assert paper.size == 80 and paper.config.latent == 100 and paper.config.asymmetric == 5
    assert SymmetricGenerator().size == 128
    folded = SymmetricDiscriminator(size=80, kernel=6).out
    assert folded.in_features == 7680


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


def mse(a, b):
    return (a - b).square().mean()


@pytest.fixture
def fitted_net():
    return scramble(SymmetricGenerator(**TINY, yaw=True), torch.float32).eval().requires_grad_(False)


def test_fit_and_tune_finds_a_picture_and_turns_it_into_its_mirror_image(fitted_net):
    net = fitted_net
    before = {k: v.clone() for k, v in net.state_dict().items()}
    ramp = torch.linspace(-0.6, 0.6, 32).expand(1, 3, 32, 32)
    picture = 0.7 * net(net.sample(1)) + 0.3 * ramp  # not one of its own, nor symmetric
    told = []
    fit = fit_and_tune(
        net, picture, fit_steps=40, tune_steps=150, progress=lambda share, image: told.append(share)
    )
    assert mse(fit.after, picture) < 0.7 * mse(fit.before, picture)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())  # the original is untouched
    assert told == sorted(told) and told[-1] > 0.9
    with torch.no_grad():
        frames = [fit.generator(fit.generator.between(fit.z, fraction)) for fraction in (0, 0.5, 1)]
    torch.testing.assert_close(frames[0], fit.after)
    torch.testing.assert_close(frames[2], mirror(frames[0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames[1], mirror(frames[1]), rtol=0, atol=1e-4)
    assert (fit.z.abs() < 1.5).all()


def test_a_start_that_fits_is_taken(fitted_net):
    z = fitted_net.sample(1, torch.Generator().manual_seed(9)) * 0.9
    fit = fit_and_tune(fitted_net, fitted_net(z), start=z, fit_steps=5, tune_steps=5)
    without = fit_and_tune(fitted_net, fitted_net(z), fit_steps=5, tune_steps=5)
    assert mse(fit.before, fitted_net(z)) < 0.2 * mse(without.before, fitted_net(z))


def test_a_fit_that_ends_early_is_not_worse_than_its_start(fitted_net):
    z = fitted_net.sample(1, torch.Generator().manual_seed(9)) * 0.9
    fit = fit_and_tune(fitted_net, fitted_net(z), start=z, fit_steps=1, tune_steps=2)
    assert mse(fit.after, fitted_net(z)) <= mse(fit.before, fitted_net(z))


def test_views_are_fitted_at_their_yaw(fitted_net):
    """The latent stays at the photo's yaw, and turned to a view's it gives that view."""
    pictures = torch.tensor([[0.4, 0.1, 0.3], [0.1, 0.4, 0.2]])[..., None, None].expand(
        2, 3, 32, 32
    ) + torch.linspace(-0.5, 0.5, 32)
    views = [(12.0, pictures[1:])]
    found = {}
    for name, given in (("with", views), ("without", [])):
        fit = fit_and_tune(fitted_net, pictures[:1], yaw=-5.0, views=given, fit_steps=20, tune_steps=120)
        torch.testing.assert_close(fitted_net.yaw_of(fit.z), torch.tensor([-5.0]), rtol=0, atol=1e-2)
        with torch.no_grad():
            found[name] = mse(fit.generator(fit.generator.turned(fit.z, 12.0)), pictures[1:])
    assert found["with"] < 0.7 * found["without"]


def test_a_fit_keeps_to_its_time_and_ends_with_what_progress_raises():
    net = SymmetricGenerator(**TINY).eval()
    picture = torch.zeros(1, 3, 32, 32)
    fit = fit_and_tune(net, picture, fit_steps=10**6, tune_steps=10**6, seconds=2)
    assert 1.6 < fit.seconds < 2.2

    def stop(share, image):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_and_tune(net, picture, fit_steps=10**6, tune_steps=10**6, progress=stop)
