import contextlib

import pytest
import torch
import torchinfo
from torch import nn

from lenet_utils.models import LeNet, evaluating, layer_table

# Row, kind, output shape, formula, parameters, multiply-accumulates, receptive field.
TABLE = [
    ("2-1", "Conv2d", (6, 28, 28), "(5·5·1 + 1)·6", 156, 117_600, 5),
    ("2-2", "ReLU", (6, 28, 28), "", 0, 0, 5),
    ("2-3", "MaxPool2d", (6, 14, 14), "", 0, 0, 6),
    ("2-4", "Conv2d", (16, 10, 10), "(5·5·6 + 1)·16", 2_416, 240_000, 14),
    ("2-5", "ReLU", (16, 10, 10), "", 0, 0, 14),
    ("2-6", "MaxPool2d", (16, 5, 5), "", 0, 0, 16),
    ("2-7", "Conv2d", (120, 1, 1), "(5·5·16 + 1)·120", 48_120, 48_000, 32),
    ("2-8", "ReLU", (120, 1, 1), "", 0, 0, 32),
    ("2-9", "Flatten", (120,), "", 0, 0, 32),
    ("2-10", "Linear", (84,), "(120 + 1)·84", 10_164, 10_080, 32),
    ("2-11", "ReLU", (84,), "", 0, 0, 32),
    ("2-12", "Linear", (10,), "(84 + 1)·10", 850, 840, 32),
]


# The network


def test_outputs_are_what_the_twelve_modules_make_or_a_softmax_of_it():
    images = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    model = LeNet()
    logits = model(images)
    assert logits.shape == (5, 10)
    assert torch.equal(logits, model.network(images))
    with_softmax = LeNet(softmax=True)
    with_softmax.load_state_dict(model.state_dict())
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(with_softmax(images), expected)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 1, 28, 28), (2, 3, 32, 32), (2, 1024)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError) as error:
        LeNet()(torch.zeros(shape))
    assert f"expected images of shape (N, 1, 32, 32), got {shape}" in str(error.value)
    assert "data.resize makes 32×32 pixels of them, image[None] a batch" in str(error.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_wrong_dtype(dtype):
    with pytest.raises(TypeError, match=f"as torch.float32, got {dtype}: data.to_input converts"):
        LeNet()(torch.zeros(2, 1, 32, 32, dtype=dtype))


def test_a_network_of_another_dtype_reads_images_of_that_dtype():
    assert LeNet().double()(torch.zeros(2, 1, 32, 32, dtype=torch.float64)).shape == (2, 10)
    assert layer_table(LeNet().double()) == layer_table(LeNet())


# Evaluation mode


@pytest.mark.parametrize("divisor", [1, 0], ids=["success", "error"])
def test_evaluating_restores_the_mode_of_every_module(divisor):
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    model[1][1].eval()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    with contextlib.suppress(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model[1][0](torch.zeros(1, 2)).requires_grad
        _ = 1 / divisor
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


# The table of its layers


@pytest.mark.parametrize("softmax", [False, True])
def test_layer_table_of_the_network(softmax):
    table = layer_table(LeNet(softmax=softmax))
    assert [(*row[:2], *row[3:-1]) for row in table] == TABLE
    assert [row.input_shape for row in table] == [(1, 32, 32), *(row[2] for row in TABLE[:-1])]
    assert sum(row.parameters for row in table) == 61_706
    assert sum(row.macs for row in table) == 416_520


def mixed():
    return nn.Sequential(
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.AvgPool2d(2),
        nn.Sequential(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False)), nn.Flatten()),
        nn.Dropout(),
        nn.Linear(6 * 6 * 6, 5, bias=False),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.BatchNorm1d(5, affine=False),
        nn.Linear(5, 3),
    )


@pytest.mark.parametrize("make", [LeNet, mixed])
def test_layer_table_equals_torchinfos_rows(make):
    model = make()
    expected = [
        (f"{row.depth}-{row.depth_index}", row.class_name, *row.output_size[1:], row.num_params)
        for row in torchinfo.summary(model, (1, 1, 32, 32), verbose=0).summary_list
        if row.is_leaf_layer
    ]
    table = layer_table(model)
    assert [(row.name, row.kind, *row.output_shape, row.parameters) for row in table] == expected
    for row in table:
        assert eval(row.formula.replace("·", "*") or "0") == row.parameters


@pytest.mark.parametrize(
    "module, input_shape, formula, macs",
    [
        (nn.Conv2d(4, 6, 3, groups=2), (4, 9, 8), "(3·3·2 + 1)·6", 6 * 7 * 6 * 9 * 2),
        (nn.Conv2d(4, 4, 3, groups=4, stride=2), (4, 9, 9), "(3·3·1 + 1)·4", 4 * 4 * 4 * 9),
        (nn.Conv2d(1, 6, 5, bias=False), (1, 32, 32), "(5·5·1)·6", 117_600),
        (nn.Linear(120, 84, bias=False), (120,), "(120)·84", 10_080),
        (nn.BatchNorm1d(5), (5,), "2·5", 0),
        (nn.BatchNorm2d(5), (5, 4, 4), "2·5", 0),
        (nn.BatchNorm2d(5, affine=False), (5, 4, 4), "", 0),
        (nn.AvgPool2d(4), (1, 32, 32), "", 0),
    ],
)
def test_a_layers_formula_and_multiply_accumulates(module, input_shape, formula, macs):
    (row,) = layer_table(nn.Sequential(module), input_shape)
    assert (row.formula, row.macs) == (formula, macs)


def test_receptive_field_of_a_multi_layer_perceptron():
    table = layer_table(nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.Tanh()), (1, 28, 28))
    assert [row.receptive_field for row in table] == [1, 28, 28]


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(1, 2, 3, dilation=2),
        nn.Conv2d(1, 2, (3, 5)),
        nn.Conv2d(1, 2, 3, stride=(1, 2)),
        nn.MaxPool2d((1, 2)),
        nn.MaxPool2d(2, dilation=2),
        nn.ConvTranspose2d(1, 2, 3),
        nn.LayerNorm(32),
        nn.AdaptiveAvgPool2d(4),
        nn.Upsample(scale_factor=2),
        nn.Linear(32, 10),  # of maps
    ],
    ids=str,
)
def test_a_layer_that_it_does_not_know(module):
    model = nn.Sequential(nn.ReLU(), module)
    with pytest.raises(ValueError) as error:
        layer_table(model)
    assert str(module) in str(error.value)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(module.training for module in model.modules())


# Receptive fields, found by asking which pixels an output changes with


def positive(module):
    """The same kind of module through which every input of a window reaches the output."""
    if isinstance(module, nn.MaxPool2d):
        return nn.AvgPool2d(module.kernel_size, module.stride)
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    return module


def reached(network, row, column):
    """First row and column, height and width of the pixels that one output value depends on."""
    image = torch.ones(1, 1, 32, 32, requires_grad=True)
    network(image)[0, 0, row, column].backward()
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    top, left = rows.min().item(), columns.min().item()
    return top, left, rows.max().item() - top + 1, columns.max().item() - left + 1


STRIDED = [nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Conv2d(3, 3, 4, stride=1), nn.MaxPool2d(2)]


@pytest.mark.parametrize("modules", [list(LeNet().network[:8]), STRIDED], ids=["LeNet", "strided"])
def test_receptive_fields_by_gradients(modules):
    table = layer_table(nn.Sequential(*modules))
    network = nn.Sequential(*[positive(module) for module in modules])
    for number, layer in enumerate(table, start=1):
        part, field = network[:number], layer.receptive_field
        assert reached(part, 0, 0) == (0, 0, field, field)
        if layer.output_shape[1] > 1:
            assert reached(part, 0, 1) == (0, layer.jump, field, field)
            assert reached(part, 1, 0) == (layer.jump, 0, field, field)


@pytest.mark.parametrize("training", [False, True])
def test_looking_teaches_nothing_and_draws_no_random_number(training):
    model = nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.Dropout()).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    layer_table(model)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.training == training
    assert not any(module._forward_hooks for module in model.modules())
