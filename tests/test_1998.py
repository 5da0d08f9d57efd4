"""The network of 1998, how it was taught, and the ladder from it to ours."""

import math
import types
from dataclasses import replace
from functools import partial

import ladder_1998
import pretrain
import pytest
import teach_1998
import torch
import torch.nn.functional as F
from torch import nn

from lenet_utils import data, evaluation, lesson, models, procedure_1998, training
from lenet_utils.models import C3_TABLE, LeNet, LeNet1998, layer_table
from lenet_utils.procedure_1998 import DAMPING, START, STEPS, curvature, start, teach

# Layer, output shape, trained parameters: LeCun et al. 1998, section II.B.
LAYERS = {
    "C1": ((6, 28, 28), 156),
    "S2": ((6, 14, 14), 12),
    "C3": ((16, 10, 10), 1_516),
    "S4": ((16, 5, 5), 32),
    "C5": ((120, 1, 1), 48_120),
    "F6": ((84,), 10_164),
    "output": ((10,), 0),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LeNet1998()


@pytest.fixture(scope="module")
def digits():
    some = data.load("test", 28)
    return data.Digits(data.pad(some.images[:60]), some.labels[:60])


# The network


def test_layers_shapes_and_parameters_are_those_of_the_paper(model):
    values = torch.randn(2, 1, 32, 32)
    for name, layer in model.network.named_children():
        values = layer(values)
        if name in LAYERS:
            shape, parameters = LAYERS[name]
            assert values.shape == (2, *shape)
            assert sum(p.numel() for p in layer.parameters()) == parameters
    assert sum(p.numel() for p in model.parameters()) == 60_000


def test_its_table_of_layers(model):
    rows = [layer for layer in layer_table(model) if layer.parameters or layer.macs]
    assert [(row.output_shape, row.parameters) for row in rows] == list(LAYERS.values())
    for row in rows[:-1]:
        assert eval(row.formula.replace("·", "*")) == row.parameters
    assert [row.macs for row in rows] == [117_600, 1_176, 150_000, 400, 48_000, 10_080, 840]
    assert [row.receptive_field for row in rows] == [5, 6, 14, 16, 32, 32, 32]


def test_every_layer_up_to_f6_is_squashed(model):
    children = dict(model.network.named_children())
    names = [name for name in children if name not in ("scale", "flatten", "output")]
    assert names[1::2] == [f"squash_{name}" for name in names[::2]]
    assert all(isinstance(children[name], models.ScaledTanh) for name in names[1::2])
    ends = models.ScaledTanh()(torch.tensor([-1e3, -1.0, 0.0, 1.0, 1e3]))
    torch.testing.assert_close(ends, torch.tensor([-1.7159, -1, 0, 1, 1.7159]), atol=1e-4, rtol=0)


def test_paper_and_ink_have_the_scale_of_1998(model):
    pixels = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    pixels[..., 16:] = 255
    scaled = model.network.scale(data.to_input(pixels))
    expected = torch.where(pixels > 0, 1.175, -0.1)
    torch.testing.assert_close(scaled, expected, atol=1e-5, rtol=0)


def test_subsampling_by_hand():
    layer = models.Subsampling(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.5, 3.0]))
    maps = torch.tensor([[[1.0, 2, 5, 0], [3, 4, 0, 1]], [[1, 1, 0, 0], [1, 1, 0, 2]]])[None]
    expected = [[[[20.5, 12.5]], [[-1.0, 1.0]]]]
    torch.testing.assert_close(layer(maps), torch.tensor(expected))


def test_the_table_is_that_of_the_paper():
    rows = " ".join("".join(str(seen) for seen in maps) for maps in C3_TABLE)
    three = "012 123 234 345 045 015"
    four = "0123 1234 2345 0345 0145 0125 0134 1245 0235"
    assert rows == f"{three} {four} 012345"


def test_a_map_sees_the_maps_of_its_row_and_no_other():
    torch.manual_seed(0)
    table = [[0, 2], [1], [0, 1, 2, 3]]
    layer = models.TableConv2d(table, kernel_size=3)
    models.draw_by_fan_in(layer)
    maps = torch.randn(2, 4, 7, 6, requires_grad=True)
    made = layer(maps)
    assert made.shape == (2, 3, 5, 4) and layer.weight.shape == (7, 3, 3)
    kernels = layer.weight.split([len(seen) for seen in table])
    for number, (seen, kernel) in enumerate(zip(table, kernels, strict=True)):
        by_hand = F.conv2d(maps[:, seen], kernel[None], layer.bias[number : number + 1])
        torch.testing.assert_close(made[:, number : number + 1], by_hand)
        (slopes,) = torch.autograd.grad(made[:, number].sum(), maps, retain_graph=True)
        assert [n for n in range(4) if slopes[:, n].any()] == seen


def test_outputs_are_distances_to_the_bitmaps_with_a_minus(model):
    layer = model.network.output
    pictures = layer.bitmaps.view(10, 12, 7)
    assert pictures.abs().eq(1).all() and len(layer.bitmaps.unique(dim=0)) == 10
    rows = ["".join(".#"[int(pixel > 0)] for pixel in row) for row in pictures[7]]
    assert rows[0] == "#######" and rows[1] == "......#" and rows[11] == ".#....."
    outputs = layer(layer.bitmaps)
    assert outputs.argmax(1).tolist() == list(range(10)) and outputs.diagonal().eq(0).all()
    assert outputs[3, 9].item() == -4 * (pictures[3] != pictures[9]).sum().item()
    assert not list(layer.parameters())


def test_every_parameter_starts_within_its_fan_in(model):
    for name, fan_in in {"C1": 25, "S2": 4, "S4": 4, "C5": 400, "F6": 120}.items():
        for parameter in getattr(model.network, name).parameters():
            assert parameter.abs().max() <= 2.4 / fan_in
        if name in ("C1", "C5", "F6"):
            assert getattr(model.network, name).weight.abs().max() > 0.95 * 2.4 / fan_in
    kernels = model.network.C3.weight.split([len(seen) for seen in C3_TABLE])
    for seen, kernel in zip(C3_TABLE, kernels, strict=True):
        bound = 2.4 / (25 * len(seen))
        assert 0.9 * bound < kernel.abs().max() <= bound


def test_a_start_as_pytorchs():
    torch.manual_seed(0)
    for ours, pytorchs in [(nn.Conv2d(16, 120, 5),) * 2, (nn.Linear(120, 84),) * 2]:
        pytorchs.reset_parameters()
        before = pytorchs.weight.abs().max()
        models.draw_by_fan_in(ours, scale=1.0, power=0.5)
        torch.testing.assert_close(ours.weight.abs().max(), before, atol=0, rtol=0.01)


def test_the_loss_with_a_penalty_is_equation_9():
    torch.manual_seed(0)
    distances, labels = 6 * torch.rand(5, 10), torch.tensor([3, 1, 4, 1, 5])
    right = distances[range(5), labels]
    torch.testing.assert_close(models.distance_loss(-distances, labels), right.mean())
    for rubbish in (1.0, 7.0):
        penalty = (math.exp(-rubbish) + (-distances).exp().sum(1)).log()
        loss = models.map_loss(-distances, labels, rubbish)
        torch.testing.assert_close(loss, (right + penalty).mean())
    assert models.map_loss(-distances, labels) == models.map_loss(-distances, labels, 1.0)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 1, 28, 28)])
def test_what_it_cannot_read(model, shape):
    with pytest.raises(ValueError, match="expected images of shape .N, 1, 32, 32."):
        model(torch.zeros(shape))


# How it was taught


def test_the_published_steps():
    assert len(STEPS) == 20 and math.isclose(sum(STEPS), 2.18e-3)
    assert procedure_1998.RECIPE == replace(training.Recipe(20, 5e-4, "1998"), batch_size=1)


def test_curvature_by_hand_on_a_small_network():
    """The first layer a convolution with shared weights: what each connection has is added up."""
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(1, 2, 2), nn.Linear(8, 84)
    network = nn.Sequential(
        convolution,
        models.ScaledTanh(),
        nn.Flatten(),
        linear,
        models.ScaledTanh(),
        models.BitmapDistance(),
    )
    images, labels = torch.randn(3, 1, 3, 3), torch.tensor([2, 0, 9])
    small = types.SimpleNamespace(network=network)
    found = curvature(small, images, labels, models.distance_loss)
    expected = [torch.zeros_like(p) for p in network.parameters()]

    def slope(sums):
        return 1.7159 * 2 / 3 * (1 - torch.tanh(2 / 3 * sums) ** 2)

    for image in images:
        sums = convolution(image[None])[0]
        squashed = models.ScaledTanh()(sums).flatten()
        by_sum = 2 * slope(linear(squashed)) ** 2
        expected[2] += by_sum[:, None] * squashed**2
        expected[3] += by_sum
        by_map = (by_sum @ linear.weight**2).view(2, 2, 2) * slope(sums) ** 2
        for kernel in range(2):
            for row in range(2):
                for column in range(2):
                    seen = image[0, row : row + 2, column : column + 2]
                    expected[0][kernel, 0] += by_map[kernel, row, column] * seen**2
                    expected[1][kernel] += by_map[kernel, row, column]
    for ours, by_hand in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, by_hand.detach() / 3)


def test_curvature_of_the_outputs_is_that_of_the_loss():
    torch.manual_seed(0)
    features, labels = torch.randn(4, 84), torch.tensor([1, 2, 3, 4])
    layer = models.BitmapDistance()
    network = nn.Sequential(nn.Linear(84, 84), layer)
    nn.init.eye_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    loss = partial(models.map_loss, rubbish=90.0)
    found = curvature(types.SimpleNamespace(network=network), features, labels, loss)[1]
    exact = torch.zeros(84)
    for one, label in zip(features, labels, strict=True):
        hessian = torch.autograd.functional.hessian(
            lambda f, label=label: loss(layer(f[None]), label[None]), one
        )
        exact += hessian.diagonal()
    torch.testing.assert_close(found, exact / 4)


def test_curvature_has_the_parameters_shapes_and_is_not_negative(model, digits):
    found = curvature(model, data.to_input(digits.images), digits.labels, models.map_loss)
    for seconds, parameter in zip(found, model.parameters(), strict=True):
        assert seconds.shape == parameter.shape and seconds.min() >= 0


@pytest.mark.parametrize("loss", [models.map_loss, models.distance_loss])
def test_a_step_is_the_published_one_over_curvature(model, digits, monkeypatch, loss):
    monkeypatch.setattr(procedure_1998, "STEPS", [0.01])
    one = data.Digits(digits.images[:1], digits.labels[:1])
    inputs, before = data.to_input(one.images), [p.detach().clone() for p in model.parameters()]
    seconds = curvature(model, inputs, one.labels, loss)
    value = loss(model(inputs), one.labels)
    slopes = torch.autograd.grad(value, list(model.parameters()))
    assert list(teach(model, one, loss=loss, progress=False)) == [value.item()]
    for parts in zip(model.parameters(), before, slopes, seconds, strict=True):
        after, was, slope, second = parts
        torch.testing.assert_close(after.detach(), was - 0.01 / (DAMPING + second) * slope)


def test_before_each_pass_the_curvature_of_another_sample(model, digits, monkeypatch):
    samples = []

    def note(model, inputs, labels, loss):
        samples.append(inputs)
        return curvature(model, inputs, labels, loss)

    monkeypatch.setattr(procedure_1998, "STEPS", [1e-4] * 3)
    monkeypatch.setattr(procedure_1998, "SAMPLE", 7)
    monkeypatch.setattr(procedure_1998, "curvature", note)
    list(teach(model, digits, progress=False))
    assert [len(inputs) for inputs in samples] == [7] * 3
    assert not torch.equal(*samples[:2]) and not torch.equal(*samples[1:])


def test_passes_are_many_seeded_and_can_be_taken_up_again(digits, monkeypatch):
    monkeypatch.setattr(procedure_1998, "STEPS", [5e-4, 2e-4, 1e-4])

    def taught(*firsts, seed=0):
        model = start(seed)
        for first in firsts:
            passes = teach(model, digits, first=first, seed=seed, progress=False)
            for _ in range(4 if first == firsts[-1] else 1):
                next(passes, None)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    whole = taught(1)
    assert torch.equal(whole, taught(1, 2)) and torch.equal(whole, taught(1, 2, 3))
    assert not torch.equal(whole, taught(1, seed=1))


def test_it_starts_as_pytorch_does():
    for name, fan_in in {"C1": 25, "C5": 400, "F6": 120}.items():
        largest = getattr(start().network, name).weight.abs().max()
        assert 0.95 / fan_in**0.5 < largest <= 1 / fan_in**0.5
    weights = [start(seed).network.C1.weight for seed in (1, 1, 2)]
    assert torch.equal(*weights[:2]) and not torch.equal(*weights[1:])


def test_it_ships_with_a_history_with_validation():
    shipped = training.shipped("lenet1998")
    assert isinstance(shipped.model, LeNet1998)
    assert (shipped.recipe, shipped.seed) == (procedure_1998.RECIPE, pretrain.SEED)
    assert len(shipped.history.epochs) == len(shipped.history.losses) == 20
    subset = data.load("validation", 28)
    answers = evaluation.predict(shipped.model, data.pad(subset.images)).argmax(1)
    last = shipped.history.epochs[-1]["validation_accuracy"]
    assert abs(evaluation.accuracy(answers, subset.labels) - last) < 0.0005


def test_what_was_begun_is_taken_up_again(digits, monkeypatch, tmp_path):
    class Stop(Exception):
        pass

    def stop_after(passes):
        def teach_some(model, train, **options):
            for number, loss in enumerate(teach(model, train, progress=False, **options), start=1):
                yield loss
                if number == passes:
                    raise Stop

        return teach_some

    small = data.load("test", 28)
    small = data.Digits(*(tensor[:20] for tensor in small))
    monkeypatch.setattr(data, "load", lambda subset, size: small)
    monkeypatch.setattr(training, "SHIPPED", tmp_path)
    monkeypatch.setattr(procedure_1998, "STEPS", [5e-4, 2e-4, 1e-4])
    monkeypatch.setattr(procedure_1998, "teach", partial(teach, progress=False))
    whole = pretrain.pretrain("lenet1998")
    monkeypatch.setattr(procedure_1998, "teach", stop_after(2))
    with pytest.raises(Stop):
        pretrain.pretrain("lenet1998")
    assert [path.name for path in tmp_path.iterdir()] == ["lenet1998.begun"]
    monkeypatch.setattr(procedure_1998, "teach", partial(teach, progress=False))
    again = pretrain.pretrain("lenet1998")
    assert again.history.losses == pytest.approx(whole.history.losses)
    assert len(whole.history.epochs) == len(again.history.epochs) == 3
    weights = (taught.model.network.C5.weight for taught in (whole, again))
    torch.testing.assert_close(*weights, atol=1e-4, rtol=0)  # read back in another memory format
    assert not list(tmp_path.iterdir())


# What the paper leaves open


def test_ways_to_teach_differ_in_what_they_say():
    ways = teach_1998.ways()
    in_sums = [way for way in ways.values() if "scale" not in way]
    assert {(*way["start"].values(), way["damping"]) for way in in_sums} == {
        (scale, power, damping)
        for scale, power in ((2.4, 1.0), (1.0, 0.5))
        for damping in (0.02, 0.1, 0.4, 1.68)
    }
    odd = {name: way["rubbish"] for name, way in ways.items() if way["rubbish"] != 1}
    chosen = f"PyTorch's start, damping {DAMPING}"
    assert odd == {f"{chosen}, rubbish at 10": 10, f"{chosen}, rubbish at 100": 100}
    assert ways[chosen] == {"start": START, "damping": DAMPING, "rubbish": 1.0}
    scales = {name: way["damping"] / way["scale"] for name, way in ways.items() if "scale" in way}
    assert list(scales.values()) == pytest.approx([DAMPING] * 3 + [1.68] * 2)


def test_a_way_is_taught_as_it_says(monkeypatch, digits):
    monkeypatch.setattr(teach_1998, "images", lambda subset, changes: digits)
    monkeypatch.setattr(teach_1998, "IMAGES", 4)
    monkeypatch.setattr(teach_1998, "PASSES", 2)
    usual = {"start": START, "damping": DAMPING, "rubbish": 1.0, "seed": 5}
    model, few = start(5), data.Digits(digits.images[:4], digits.labels[:4])
    passes = teach(model, few, seed=5, progress=False)
    wanted = [next(passes), next(passes)][1]
    found = teach_1998.judge(**usual)
    assert found["loss"] == pytest.approx(wanted, rel=1e-4)
    answers = evaluation.predict(model, digits.images).argmax(1)
    assert found["validation"] == evaluation.accuracy(answers, digits.labels)
    printed = {"scale": 2.4, "power": 1.0}
    for other in ({"start": printed}, {"damping": 1.0}, {"rubbish": 90.0}, {"scale": 0.5}):
        assert teach_1998.judge(**usual | other)["loss"] != pytest.approx(wanted, rel=1e-4)


def test_the_ways_on_file_are_these():
    stored = lesson.measured("teach_1998")["trials"]
    for (name, way), of_file in zip(teach_1998.ways().items(), stored.values(), strict=True):
        assert way.items() <= stored[name].items() and stored[name] is of_file
        assert of_file["seeds"] == teach_1998.SEEDS and "test" not in of_file
        assert len(of_file["validation"]) == len(of_file["loss"]) == len(teach_1998.SEEDS)


# The ladder


def test_the_last_rung_computes_what_our_network_computes():
    torch.manual_seed(0)
    model, ours = ladder_1998.network(ladder_1998.CHANGES), LeNet()
    for parameter, value in zip(ours.parameters(), model.parameters(), strict=True):
        parameter.data.copy_(value)
    images = torch.randn(3, 1, 32, 32)
    assert torch.equal(model(images), ours(images))


def test_each_change_alone_changes_what_it_says():
    seen = {}
    for change in ladder_1998.CHANGES:
        torch.manual_seed(0)
        children = ladder_1998.network([change]).network.named_children()
        torch.manual_seed(0)
        others = dict(LeNet1998().network.named_children())
        seen[change] = {
            name
            for name, layer in children
            if type(layer) is not type(others[name])
            or not all(
                torch.equal(*pair)
                for pair in zip(layer.parameters(), others[name].parameters(), strict=True)
            )
        }
    layers = {"C1", "S2", "C3", "S4", "C5", "F6"}
    assert seen == {
        "ReLU": {f"squash_{name}" for name in layers},
        "max pooling": {"S2", "S4", "squash_S2", "squash_S4"},
        "dense C3": {"C3"},
        "linear output": {"output"},
        "resized images": set(),
        "standardised input": {"scale"},
        "PyTorch's start": layers,
        "Adam": set(),
    }


def test_padded_or_resized():
    raw = data.load("validation", 28)
    padded, resized = (ladder_1998.images("validation", c) for c in ([], ["resized images"]))
    assert torch.equal(padded.images[..., 2:30, 2:30], raw.images)
    assert torch.equal(resized.images, data.load("validation").images)


def test_a_rung_learns_as_it_says(monkeypatch, digits):
    calls = []

    def train(recipe, digits, **options):
        calls.append((recipe, options))
        return training.Trained(options["network"](), recipe, 0, None)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(ladder_1998, "images", lambda subset, changes: digits)
    for changes in ([], ["Adam"], ["linear output"]):
        found = ladder_1998.judge(changes, 0.01, 3, ["validation"])
        assert found.keys() == {"validation"} and 0 <= found["validation"] <= 1
    (recipe, plain), (_, adam), (_, linear) = calls
    assert recipe == training.Recipe(2, 0.01, "one_cycle") and plain["seed"] == 3
    assert plain["criterion"] is adam["criterion"] is models.map_loss
    assert "criterion" not in linear and "optimizer" not in adam
    parameters = list(LeNet1998().parameters())
    stepper = plain["optimizer"](parameters, recipe)
    assert isinstance(stepper, torch.optim.SGD) and stepper.defaults["lr"] == 0.01
    assert stepper.defaults["momentum"] == 0


def test_a_loss_that_is_not_finite_is_kept_as_no_result(monkeypatch, digits):
    def fail(changes, rate, seed):
        raise FloatingPointError

    monkeypatch.setattr(ladder_1998, "learn", fail)
    assert ladder_1998.judge([], 0.3, 0, ["validation", "test"]) == {
        "validation": None,
        "test": None,
    }


def test_the_best_rate_is_in_the_midst_of_those_tried():
    rates = ladder_1998.RATES
    trials = {
        f"{rung}, {rate}": {"validation": [0.9 if rate != rates[2] else 0.95]}
        for rung in ladder_1998.rungs()
        for rate in rates
    }
    trials[f"Adam alone, {rates[-1]}"]["validation"] = [None]
    assert ladder_1998.best_rates(trials) == dict.fromkeys(ladder_1998.rungs(), rates[2])
    trials[f"1998, {rates[0]}"]["validation"] = [0.99]
    with pytest.raises(ValueError, match="1998 is best at 0.001, the end of RATES"):
        ladder_1998.best_rates(trials)
    trials[f"1998, {rates[0]}"]["validation"] = []
    with pytest.raises(ValueError, match="expected trials of 1998 at all rates"):
        ladder_1998.best_rates(trials)


def test_what_is_on_file_is_whole_and_chosen_by_validation():
    stored = lesson.measured("ladder_1998")
    rungs, best = ladder_1998.rungs(), ladder_1998.best_rates(stored["trials"])
    assert list(stored["tests"]) == list(rungs)
    for name, rung in stored["tests"].items():
        assert (rung["changes"], rung["rate"]) == (rungs[name], best[name])
        assert rung["seeds"] == ladder_1998.SEEDS and rung["epochs"] == ladder_1998.EPOCHS
        assert all(len(rung[subset]) == len(ladder_1998.SEEDS) for subset in ("validation", "test"))
    for trial in stored["trials"].values():
        assert trial["seeds"] == [ladder_1998.TRIAL_SEED] and "test" not in trial
    assert ladder_1998.TRIAL_SEED not in ladder_1998.SEEDS
