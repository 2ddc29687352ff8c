"""SymmFCNet: the mask algebra on worked examples, known pixels, gradients, losses against hand-made cases."""

import pytest
import torch

from facesym import losses
from facesym.models.discriminators import SAGANDiscriminator
from facesym.models.symmfcnet import (
    SymmFCNet,
    background_mask,
    both_half_mask,
    one_half_mask,
    stage_two_condition,
)
from facesym.ops import PARTS, crop_parts, identity_grid, relight, warp


@pytest.fixture
def batch():
    torch.manual_seed(0)
    mask = torch.ones(2, 1, 64, 64)
    mask[:, :, 20:40, 10:30] = 0
    return torch.rand(2, 3, 64, 64) * 2 - 1, mask


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SymmFCNet.preset("tiny").eval()


def row(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


# One pixel of each kind: known; missing here only; missing in both halves; background, missing; background, known.
KNOWN = row(1, 0, 0, 0, 1)
WARPED_KNOWN = row(1, 1, 0, 1, 1)
FACE = row(1, 1, 1, 0, 0)


def test_mask_algebra_of_the_five_kinds_of_pixel():
    half = one_half_mask(KNOWN, WARPED_KNOWN, FACE)
    assert half.flatten().tolist() == [1, 0, 1, 1, 1]
    assert both_half_mask(KNOWN, half, FACE).flatten().tolist() == [1, 1, 0, 1, 1]
    assert background_mask(KNOWN, FACE).flatten().tolist() == [0, 0, 0, 1, 0]
    confidence = torch.full_like(KNOWN, 0.25)
    condition = stage_two_condition(KNOWN, half, FACE, confidence)
    assert condition.flatten().tolist() == [1, 0.25, 0, 0, 1]


def test_the_condition_stays_in_0_1_for_soft_masks():
    torch.manual_seed(0)
    known = (torch.rand(1, 1, 1, 1000) > 0.5).float()
    face, warped, confidence = torch.rand(3, 1, 1, 1, 1000)
    condition = stage_two_condition(known, one_half_mask(known, warped, face), face, confidence)
    assert condition.min() >= 0 and condition.max() <= 1
    assert torch.allclose(condition[known == 1], torch.ones(()))


def test_known_pixels_come_back_exactly(net, batch):
    image, mask = batch
    completed = net(image, mask).completed
    known = mask.bool().expand_as(image)
    assert torch.equal(completed[known], image[known])
    assert not torch.equal(completed[~known], image[~known])


def test_what_stands_in_the_hole_has_no_influence(net, batch):
    image, mask = batch
    other = torch.where(mask.bool(), image, torch.full_like(image, float("nan")))
    assert torch.equal(net(image, mask).completed, net(other, mask).completed)


def test_an_untrained_stage_one_copies_the_mirrored_half_in_place(net, batch):
    image, mask = batch
    out = net(image, mask)
    assert torch.allclose(out.flow, identity_grid(image))
    masked = image * mask
    assert torch.allclose(out.warped, masked.flip(-1), atol=1e-5)
    # Where it fills it fills with the relit copy, elsewhere it keeps the input.
    expected = relight(out.warped, out.light) * (1 - out.half_mask) + masked * out.half_mask
    assert torch.allclose(out.stage1, expected)
    # The mirrored place of the hole's left part is known, that of the part that crosses the middle is not.
    assert (out.half_mask[0, 0, 20:40, 12:30] < 1).all()
    mask[:, :, 20:40, 10:54] = 0
    assert (net(image, mask).half_mask[0, 0, 22:38, 12:52] == 1).all()


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (256, 256)])
def test_any_multiple_of_the_stride(net, size):
    out = net(torch.zeros(1, 3, *size), torch.ones(1, 1, *size))
    assert out.completed.shape == (1, 3, *size)
    assert out.features.shape[-2:] == (size[0] // 2, size[1] // 2)


def test_other_sizes_are_refused(net):
    with pytest.raises(ValueError, match="multiples of 64"):
        net(torch.zeros(1, 3, 96, 100), torch.ones(1, 1, 96, 100))


def test_reconstruction_reaches_all_of_the_network(batch):
    """Stage I learns from RecNet's error too (phase iii)."""
    net = SymmFCNet.preset("tiny").train()
    out = net(*batch)
    losses.reconstruction_loss(out.completed, torch.zeros_like(batch[0])).backward()
    for part in ("recnet", "masknet", "flownet", "lightnet", "confidence"):
        gradients = [p.grad for p in getattr(net, part).parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), part


def test_ablations_leave_their_parts_out(batch):
    plain = SymmFCNet.preset("tiny", stage1=False)
    assert not hasattr(plain, "flownet")
    out = plain.eval()(*batch)
    assert torch.equal(out.condition, batch[1]) and torch.equal(out.stage1, batch[0] * batch[1])
    unlit = SymmFCNet.preset("tiny", relight=False).eval()
    assert not hasattr(unlit, "lightnet") and torch.equal(unlit(*batch).light, torch.ones(2, 3, 64, 64))


def test_paper_preset_has_the_papers_size():
    with torch.device("meta"):
        net = SymmFCNet.preset("paper")
    count = sum(p.numel() for p in net.recnet.parameters())
    assert abs(count / 32.6e6 - 1) < 0.1
    names = [name for name, _ in net.recnet.named_parameters() if name.endswith("original")]
    convolutions = [m for m in net.recnet.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(names) == len(convolutions)  # spectral norm on each


def test_warp_by_the_identity_changes_nothing_and_by_a_shift_shifts():
    image = torch.rand(1, 3, 16, 16)
    grid = identity_grid(image)
    assert torch.allclose(warp(image, grid), image, atol=1e-6)
    moved = warp(image, grid + torch.tensor([2 / 16, 0.0]).view(1, 2, 1, 1))  # one pixel to the right
    assert torch.allclose(moved[..., :-1], image[..., 1:], atol=1e-6)


def test_landmark_loss_is_zero_for_the_true_flow_only():
    flow = identity_grid(torch.zeros(1, 1, 32, 32)) + 0.25
    here = torch.rand(1, 68, 2) - 0.5
    assert losses.landmark_loss(flow, here, here + 0.25) < 1e-9
    # Σ over 68 landmarks of 0.1² in x
    assert torch.isclose(
        losses.landmark_loss(flow, here, here + torch.tensor([0.35, 0.25])), torch.tensor(0.68), atol=1e-4
    )


def test_tv_measures_strain_whatever_the_size():
    for size in (16, 64):
        grid = identity_grid(torch.zeros(1, 1, size, size))
        assert losses.tv_loss(torch.ones(1, 2, size, size)) == 0
        # 10 % of stretch in x and y: 0.1² over two components, in each direction one of them
        assert torch.isclose(losses.tv_loss(0.1 * grid), torch.tensor(0.01), rtol=1e-3)


def test_symmetry_loss_sees_only_generated_face():
    features, grid = torch.rand(1, 4, 16, 16), identity_grid(torch.zeros(1, 1, 32, 32))
    ones, zeros = torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    assert losses.symmetry_loss(features, features, grid, ones, zeros) < 1e-9
    assert losses.symmetry_loss(features, features + 1, grid, ones, zeros) == pytest.approx(1, abs=1e-5)
    assert losses.symmetry_loss(features, features + 1, grid, ones, ones) == 0  # all trusted
    assert losses.symmetry_loss(features, features + 1, grid, zeros, zeros) == 0  # no face


def test_light_loss_vanishes_at_the_true_ratio():
    target = torch.rand(1, 3, 8, 8) * 2 - 1
    darker = (target + 1) / 4 - 1
    ones = torch.ones(1, 1, 8, 8)
    assert losses.light_loss(darker, torch.full_like(target, 4.0), target, ones) < 1e-9
    assert losses.light_loss(darker, torch.ones_like(target), target, ones) > 0.01


def test_logits_without_mask_do_not_train_the_discriminator():
    real, fake = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, requires_grad=True)
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    losses.discriminator_loss(real, fake, weight).backward()
    assert fake.grad[0, 0, 0, 0] > 0 and fake.grad.flatten()[1:].abs().sum() == 0


def test_adversarial_losses_at_known_logits():
    zero = torch.zeros(4, 1)
    assert losses.discriminator_loss(zero, zero).item() == pytest.approx(2 * 0.6931, abs=1e-3)
    assert losses.generator_loss(torch.full((4, 1), 20.0)) < 1e-6


def test_parts_are_cut_about_their_landmarks():
    image, points = torch.zeros(1, 3, 100, 100), torch.zeros(1, 68, 2)
    for index, part in enumerate(PARTS.values()):  # each part a small square of its own brightness
        centre = torch.tensor([0.25 + 0.4 * index, 0.25]) - 0.85
        offsets = torch.tensor([[-0.1, -0.1], [0.1, 0.1]]).repeat(len(part) // 2 + 1, 1)[: len(part)]
        points[0, list(part)] = centre + offsets
        x, y = ((centre + 1) * 50).round().int().tolist()
        image[0, :, y - 9 : y + 9, x - 9 : x + 9] = index + 1
    crops = crop_parts(image, points, 32)
    for index, crop in enumerate(crops):
        assert crop.shape == (1, 3, 32, 32)
        assert (crop == index + 1).all(), index


def test_discriminator_logits_and_spectral_norm():
    net = SAGANDiscriminator(width=8, layers=3, fold=2).train()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 1, 4, 4) and net.stride == 16
    for _ in range(30):
        net(torch.rand(2, 3, 64, 64))
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2) < 1.1


def test_confidence_is_taught_the_copys_error():
    target, face = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    wrong = target.clone()
    wrong[..., 32:] = 1.5
    trusted_left = torch.ones(1, 1, 64, 64)
    trusted_left[..., 32:] = 0
    good = losses.confidence_loss(trusted_left, wrong, target, face)
    assert good < 0.03 < losses.confidence_loss(1 - trusted_left, wrong, target, face)
    assert losses.confidence_loss(1 - trusted_left, wrong, target, torch.zeros_like(face)) == 0


def test_what_is_trusted_is_handed_on():
    """RecNet corrects the copy by at most the range of its tanh; with a silent head the copy comes out as it is."""
    net = SymmFCNet.preset("tiny").eval()
    torch.nn.init.zeros_(net.recnet.out[0].weight)
    torch.nn.init.zeros_(net.recnet.out[0].bias)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    condition = torch.rand(1, 1, 64, 64)
    assert torch.allclose(net.recnet(image, condition)[0], image * condition)


def test_adversarial_terms_are_weighted_as_printed():
    """(18) with λ_{a,g} = 1 and λ_{a,pi} = 2."""
    whole, parts = torch.tensor(0.5), [torch.tensor(float(i)) for i in range(4)]
    assert losses.adversarial_terms(whole, parts) == 0.5 + 2 * 6
    assert losses.total({"face": whole, "tv": parts[2]}, {"face": 5, "tv": 1, "unused": 9}) == 4.5
