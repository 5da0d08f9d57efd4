import pytest
import torch
import torchinfo
from torch import nn

from lenet_utils.models import LeNet, layer_table

MODULES = [
    "Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))",
    "ReLU()",
    "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
    "Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))",
    "ReLU()",
    "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
    "Conv2d(16, 120, kernel_size=(5, 5), stride=(1, 1))",
    "ReLU()",
    "Flatten(start_dim=1, end_dim=-1)",
    "Linear(in_features=120, out_features=84, bias=True)",
    "ReLU()",
    "Linear(in_features=84, out_features=10, bias=True)",
]
# Row, output shape, formula, parameters, multiply-accumulates, receptive field.
TABLE = [
    ("2-1", (6, 28, 28), "(5·5·1 + 1)·6", 156, 117_600, 5),
    ("2-2", (6, 28, 28), "", 0, 0, 5),
    ("2-3", (6, 14, 14), "", 0, 0, 6),
    ("2-4", (16, 10, 10), "(5·5·6 + 1)·16", 2_416, 240_000, 14),
    ("2-5", (16, 10, 10), "", 0, 0, 14),
    ("2-6", (16, 5, 5), "", 0, 0, 16),
    ("2-7", (120, 1, 1), "(5·5·16 + 1)·120", 48_120, 48_000, 32),
    ("2-8", (120, 1, 1), "", 0, 0, 32),
    ("2-9", (120,), "", 0, 0, 32),
    ("2-10", (84,), "(120 + 1)·84", 10_164, 10_080, 32),
    ("2-11", (84,), "", 0, 0, 32),
    ("2-12", (10,), "(84 + 1)·10", 850, 840, 32),
]


@pytest.fixture
def images():
    return torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))


# The network


@pytest.mark.parametrize("softmax", [False, True])
def test_twelve_modules_in_order(softmax):
    assert [str(module) for module in LeNet(softmax=softmax).network] == MODULES


def test_pooling_takes_the_largest_of_four():
    pooled = LeNet().network[2](torch.tensor([[[[1.0, 2.0], [8.0, 1.0]]]]))
    assert pooled.tolist() == [[[[8.0]]]]


def test_parameters_of_the_network():
    assert sum(parameter.numel() for parameter in LeNet().parameters()) == 61_706


def test_logits_are_what_the_twelve_modules_make(images):
    model = LeNet()
    logits = model(images)
    assert logits.shape == (5, 10)
    assert torch.equal(logits, model.network(images))
    assert logits.min() < 0


def test_softmax_is_that_of_the_logits_over_the_ten_classes(images):
    with_softmax, without = LeNet(softmax=True), LeNet()
    with_softmax.load_state_dict(without.state_dict())
    probabilities = with_softmax(images)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))
    exponentials = without(images).exp()
    torch.testing.assert_close(probabilities, exponentials / exponentials.sum(1, keepdim=True))


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 1, 28, 28), (2, 3, 32, 32), (2, 1024)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError) as error:
        LeNet()(torch.zeros(shape))
    assert f"expected images of shape (N, 1, 32, 32), got {shape}" in str(error.value)
    assert "data.resize makes 32×32 pixels of them" in str(error.value)
    assert "image[None] a batch of a single one" in str(error.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_wrong_dtype(dtype):
    with pytest.raises(TypeError) as error:
        LeNet()(torch.zeros(2, 1, 32, 32, dtype=dtype))
    assert f"expected images as torch.float32, got {dtype}" in str(error.value)
    assert "data.to_input converts pixels" in str(error.value)


def test_a_network_of_another_dtype_reads_images_of_that_dtype():
    assert LeNet().double()(torch.zeros(2, 1, 32, 32, dtype=torch.float64)).shape == (2, 10)


# The table of its layers


def test_layer_table_of_the_network():
    rows = [
        (row.name, row.output_shape, row.formula, row.parameters, row.macs, row.receptive_field)
        for row in layer_table(LeNet())
    ]
    assert rows == TABLE


def test_totals():
    table = layer_table(LeNet())
    assert sum(layer.parameters for layer in table) == 61_706
    assert sum(layer.macs for layer in table) == 416_520


def test_input_shapes_are_the_output_shapes_before():
    table = layer_table(LeNet())
    assert table[0].input_shape == (1, 32, 32)
    for before, after in zip(table[:-1], table[1:], strict=True):
        assert after.input_shape == before.output_shape


def nested():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Sequential(nn.Conv2d(4, 5, 3)), nn.Flatten()),
        nn.Linear(5 * 13 * 13, 3),
    )


@pytest.mark.parametrize("make", [LeNet, lambda: LeNet(softmax=True), nested])
def test_layer_table_equals_torchinfos_rows(make):
    model = make()
    rows = [
        (
            f"{row.depth}-{row.depth_index}",
            row.class_name,
            tuple(row.output_size[1:]),
            row.num_params,
        )
        for row in torchinfo.summary(model, (1, 1, 32, 32), verbose=0).summary_list
        if row.is_leaf_layer
    ]
    table = layer_table(model)
    assert rows == [(row.name, row.kind, row.output_shape, row.parameters) for row in table]


@pytest.mark.parametrize("row", [row for row in layer_table(LeNet()) if row.formula])
def test_formulas_give_the_number_of_parameters(row):
    index = int(row.name.removeprefix("2-")) - 1
    module = LeNet().network[index]
    assert eval(row.formula.replace("·", "*")) == row.parameters
    assert row.parameters == module.weight.numel() + module.bias.numel()


def test_a_changed_width():
    model = LeNet()
    model.network[3] = nn.Conv2d(6, 20, 5)
    model.network[6] = nn.Conv2d(20, 120, 5)
    table = layer_table(model)
    assert table[3].formula == "(5·5·6 + 1)·20"
    assert table[3].parameters == 3_020
    assert table[5].output_shape == (20, 5, 5)
    assert table[6].formula == "(5·5·20 + 1)·120"


def test_a_layer_without_bias():
    model = LeNet()
    model.network[0] = nn.Conv2d(1, 6, 5, bias=False)
    model.network[9] = nn.Linear(120, 84, bias=False)
    table = layer_table(model)
    assert (table[0].formula, table[0].parameters, table[0].macs) == ("(5·5·1)·6", 150, 117_600)
    assert (table[9].formula, table[9].parameters, table[9].macs) == ("(120)·84", 10_080, 10_080)


def test_a_multi_layer_perceptron():
    table = layer_table(nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.Tanh()), (1, 28, 28))
    assert [row.name for row in table] == ["1-1", "1-2", "1-3"]
    assert [row.kind for row in table] == ["Flatten", "Linear", "Tanh"]
    assert [row.output_shape for row in table] == [(784,), (30,), (30,)]
    assert [row.parameters for row in table] == [0, 23_550, 0]
    assert [row.macs for row in table] == [0, 23_520, 0]
    assert [row.receptive_field for row in table] == [1, 28, 28]


def test_a_network_without_parameters():
    table = layer_table(nn.Sequential(nn.AvgPool2d(4)))
    assert [(row.output_shape, row.receptive_field) for row in table] == [((1, 8, 8), 4)]


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


# Looking changes nothing


def test_hooks_are_removed():
    model = LeNet()
    layer_table(model)
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_after_an_error():
    model = LeNet()
    with pytest.raises(ValueError):
        layer_table(model, (1, 28, 28))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


@pytest.mark.parametrize("training", [False, True])
def test_the_model_learns_nothing_and_no_random_number_is_drawn(training):
    model = nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.Dropout())
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    layer_table(model)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.training == training
