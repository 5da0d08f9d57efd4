"""The quicker ways compute the same."""

import copy

import pytest
import torch
import torch.nn.functional as F

from lenet_utils import data, speed
from lenet_utils.models import LeNet


def pair(softmax=False):
    torch.manual_seed(3)
    slow = LeNet(softmax)
    quick = speed.QuickLeNet(softmax)
    quick.load_state_dict(slow.state_dict())
    return slow, quick


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_quick_network_computes_the_same(softmax, layout):
    digits = data.load("validation")
    inputs, labels = data.to_input(digits.images[:50]), digits.labels[:50]
    gradients = []
    for model in pair(softmax):
        model.to(memory_format=layout)
        outputs = model(inputs)
        F.cross_entropy(outputs, labels).backward()
        gradients.append([outputs.detach(), *(p.grad for p in model.parameters())])
    assert len(gradients[0]) == 11
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-5 and one.abs().max() > 1e-4


def test_it_is_the_same_network():
    slow, quick = pair()
    assert [type(module) for module in quick.network] == [type(module) for module in slow.network]
    assert sum(p.numel() for p in quick.parameters()) == 61_706
    with pytest.raises(ValueError, match="32"):
        quick(torch.zeros(2, 1, 28, 28))


def test_largest_of_four_and_where_its_gradient_goes():
    four = torch.tensor([1.0, 5.0, 3.0, -2.0, -1.0, -3.0, -4.0, -1.5]).view(1, 8, 1, 1)
    four = four.double().requires_grad_()  # channel 0: 1, 3, -1, -4; channel 1: 5, -2, -3, -1.5
    one = speed.LargestOfFour.apply(four)
    assert one.flatten().tolist() == [3, 5]
    one.backward(torch.tensor([7.0, 9.0]).view(1, 2, 1, 1).double())
    assert four.grad.flatten().tolist() == [0, 9, 7, 0, 0, 0, 0, 0]
    torch.manual_seed(0)
    maps = torch.randn(2, 12, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(speed.LargestOfFour.apply, maps)
    nothing = torch.full((1, 4, 1, 1), -1.0, requires_grad=True)
    speed.LargestOfFour.apply(nothing).sum().backward()
    assert not nothing.grad.any()


def test_gradients_are_shared_by_no_two_of_equal_patches():
    """Paper gives four equal values; one gets the gradient, as in max pooling."""
    slow, quick = pair()
    inputs = torch.full((2, 1, 32, 32), 0.7)
    for model in (slow, quick):
        model.network[0].bias.data.fill_(5.0)
        model(inputs).sum().backward()
    for one, other in zip(slow.parameters(), quick.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_copy_is_independent():
    _, quick = pair()
    other = copy.deepcopy(quick)
    other.network[0].weight.data.zero_()
    assert quick.network[0].weight.abs().sum() > 0


MATRICES = [(120, 400), (84, 120), (16, 150), (50, 20)]


@pytest.mark.parametrize("shape", MATRICES)
def test_orthogonal_brings_all_singular_values_near_one(shape):
    torch.manual_seed(1)
    gradient = 1e-4 * torch.randn(shape) * torch.linspace(0.2, 1, shape[1])
    made = speed.orthogonal(gradient)
    assert made.shape == gradient.shape
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    values = torch.diag(left.T @ made @ right.T)  # in the directions of the gradient's own
    assert 0.6 < values.min() and values.max() < 1.3
    assert torch.linalg.matrix_norm(made - left @ torch.diag(values) @ right) < 0.02


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9")
def test_muon_steps_like_that_of_torch():
    """torch's computes in bfloat16, which has three digits, and knows matrices alone."""
    torch.manual_seed(2)
    mine, theirs = (torch.nn.Linear(60, 40), torch.nn.Linear(60, 40))
    theirs.load_state_dict(mine.state_dict())
    last = torch.nn.Linear(40, 10)
    optimizer = speed.Muon([*mine.parameters(), *last.parameters()], lr=0.02, betas=(0.8, 0.95))
    reference = torch.optim.Muon(
        [theirs.weight],
        lr=0.02,
        weight_decay=0.0,
        momentum=optimizer.momentum,
        adjust_lr_fn="match_rms_adamw",
    )
    start = mine.weight.detach().clone()
    for _ in range(10):
        gradient = torch.randn(40, 60)
        mine.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        reference.step()
    moved = (mine.weight - start).norm()
    assert (mine.weight - theirs.weight).norm() < 0.01 * moved and moved > 1


def test_muon_leaves_biases_and_the_last_layer_to_adam():
    torch.manual_seed(4)
    model = LeNet()
    other = copy.deepcopy(model)
    optimizer = speed.Muon(model.parameters(), lr=0.01, betas=(0.8, 0.95))
    adam = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.8, 0.95), fused=True)
    for _ in range(3):
        for one, same in zip(model.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            same.grad = one.grad.clone()
        optimizer.step()
        adam.step()
    equal = [torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True)]
    assert equal == [False, True] * 4 + [True, True]


def test_a_step_does_not_depend_on_the_layout_of_the_weights():
    torch.manual_seed(5)
    models = [LeNet(), LeNet().to(memory_format=torch.channels_last)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        optimizer = speed.Muon(model.parameters(), lr=0.01, betas=(0.8, 0.95))
        torch.manual_seed(6)
        for p in model.parameters():
            p.grad = torch.randn(p.shape).contiguous().clone(memory_format=torch.preserve_format)
        optimizer.step()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.fixture(scope="module")
def digits():
    some = data.load("validation")
    return data.Digits(some.images[:130], some.labels[:130])


def test_a_part_is_drawn_anew_for_each_epoch(digits):
    part = speed.Part(digits, 20, 0.5)  # 65 of 130: three batches of 20 and one of 5
    torch.manual_seed(0)
    epochs = [list(part), list(part)]
    for epoch in epochs:
        assert [len(labels) for _, labels in epoch] == [20, 20, 20, 5] and len(part) == 4
        for images, labels in epoch:
            for image, label in zip(images, labels, strict=True):
                places = (digits.images == image).flatten(1).all(1).nonzero().flatten()
                assert label in digits.labels[places]
    first, second = (torch.cat([images for images, _ in epoch]) for epoch in epochs)
    assert len(first.flatten(1).unique(dim=0)) == 65
    assert not torch.equal(first.sort(0).values, second.sort(0).values)
    assert len(speed.Part(digits, 20)) == 7


def test_whitened_filters_answer_with_variance_one_and_are_uncorrelated():
    images = data.load("validation").images[:200]
    model = speed.whiten(LeNet(), images)
    first = model.network[0]
    answers = F.conv2d(data.to_input(images), first.weight).transpose(0, 1).flatten(1)
    assert torch.allclose(answers[:3].cov(), torch.eye(3), atol=1e-2)
    assert torch.equal(first.weight[3:], -first.weight[:3]) and not first.bias.any()
    total = F.unfold(data.to_input(images), 5).transpose(0, 1).flatten(1).var(1).sum()
    norms = first.weight[:3].flatten(1).norm(dim=1)  # 1 / standard deviation of that direction
    assert (1 / norms**2).sum() > 0.7 * total  # the main ones: most of all variance
