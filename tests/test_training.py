import ast
import dataclasses
import inspect

import pytest
import torch
import torch.nn.functional as F

from lenet_utils import data, evaluation, training
from lenet_utils.models import LeNet
from lenet_utils.training import RECIPES, History, Recipe, fit

SMALL = Recipe(epochs=1)


def some(start, count):
    digits = data.load("full")
    return data.Digits(*(tensor[start : start + count] for tensor in digits))


@pytest.fixture(scope="module")
def digits():
    """300 images: four batches of 64 and one of 44."""
    return some(0, 300)


@pytest.fixture(scope="module")
def others():
    return some(1_000, 200)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LeNet()


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def cross_entropy(model, digits, **options):
    with torch.no_grad():
        return F.cross_entropy(model(data.to_input(digits.images)), digits.labels, **options).item()


# Learning


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_falls_with_every_recipe(name, digits):
    recipe = dataclasses.replace(RECIPES[name], epochs=8)
    torch.manual_seed(0)
    model = LeNet(softmax=recipe.softmax)
    history = fit(model, digits, recipe)
    assert len(history.losses) == 8 * 5
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"] - 0.2
    assert history.epochs[-1]["train_accuracy"] > 0.5


def test_the_recipe_of_the_write_up():
    assert RECIPES["write_up"] == Recipe(
        epochs=10,
        learning_rate=1e-3,
        schedule="constant",
        betas=(0.9, 0.999),
        label_smoothing=0.0,
        batch_size=64,
        softmax=True,
    )
    assert RECIPES["logits"] == dataclasses.replace(RECIPES["write_up"], softmax=False)


def trained(digits, seed):
    torch.manual_seed(0)
    model = LeNet()
    history = fit(model, digits, SMALL, seed=seed)
    return weights(model), history


def test_the_same_seed_gives_identical_weights(digits):
    weights_of_one, history_of_one = trained(digits, seed=1)
    torch.rand(5)  # what was drawn before does not matter
    weights_of_two, history_of_two = trained(digits, seed=1)
    assert same(weights_of_one, weights_of_two)
    assert history_of_one == history_of_two


def test_another_seed_gives_other_weights(digits):
    assert not same(trained(digits, seed=1)[0], trained(digits, seed=2)[0])


def test_the_seed_shuffles_the_images_anew_in_every_epoch(model, digits):
    seen = []

    def note(images):
        seen.append(images)
        return data.to_input(images)

    fit(model, digits, dataclasses.replace(SMALL, epochs=2), transform=note)
    assert [len(images) for images in seen] == [64, 64, 64, 64, 44] * 2
    first, second = torch.cat(seen[:5]), torch.cat(seen[5:])
    assert not torch.equal(first, digits.images)
    assert not torch.equal(first, second)
    for epoch in (first, second):
        as_bytes = sorted(image.tobytes() for image in epoch.numpy())
        assert as_bytes == sorted(image.tobytes() for image in digits.images.numpy())


def test_the_transform_makes_the_inputs(model, digits):
    fit(model, digits, SMALL, transform=lambda images: data.to_input(images) * 0)
    assert model.network[0].weight.grad.abs().sum() == 0  # no image, no gradient of its weights


# What is written down


def test_history_is_the_callers_own_object(model, digits):
    history = History()
    assert fit(model, digits, SMALL, history=history) is history
    assert len(history.losses) == 5
    assert len(history.epochs) == 1


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_training_figures_are_those_of_all_images(model, digits, label_smoothing):
    recipe = Recipe(epochs=1, learning_rate=0.0, label_smoothing=label_smoothing)
    row = fit(model, digits, recipe).epochs[0]
    expected = cross_entropy(model, digits, label_smoothing=label_smoothing)
    assert row["train_loss"] == pytest.approx(expected, rel=1e-6)
    predicted = evaluation.predict(model, digits.images).argmax(1)
    assert row["train_accuracy"] == (predicted == digits.labels).sum().item() / 300
    assert list(row) == ["train_loss", "train_accuracy"]


def test_losses_are_those_of_the_batches(model, digits):
    batches = []

    def note(images):
        batches.append(images)
        return data.to_input(images)

    history = fit(model, digits, Recipe(epochs=1, learning_rate=0.0), transform=note)
    label_of = {
        image.tobytes(): label
        for image, label in zip(digits.images.numpy(), digits.labels.tolist(), strict=True)
    }
    for loss, images in zip(history.losses, batches, strict=True):
        labels = torch.tensor([label_of[image.tobytes()] for image in images.numpy()])
        expected = cross_entropy(model, data.Digits(images, labels))
        assert loss == pytest.approx(expected, rel=1e-5)


def test_validation_figures_are_those_after_the_epoch(model, digits, others):
    row = fit(model, digits, SMALL, validation=others).epochs[0]
    assert list(row) == ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert row["validation_loss"] == pytest.approx(cross_entropy(model, others), rel=1e-5)
    predicted = evaluation.predict(model, others.images).argmax(1)
    assert row["validation_accuracy"] == (predicted == others.labels).sum().item() / 200


def test_history_as_a_table():
    history = History([3.0, 1.0], [{"train_loss": 2.0, "train_accuracy": 0.25}])
    assert str(history).splitlines() == [
        "epoch  train_loss  train_accuracy",
        "    1      2.0000          0.2500",
    ]
    assert str(History()) == "epoch"


# When it stops early


def test_an_interrupt_passes_through_and_leaves_model_and_history(model, digits):
    history, steps = History(), []

    def interrupt(model):
        steps.append(weights(model))
        if len(steps) == 7:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe = dataclasses.replace(SMALL, epochs=3)
        fit(model, digits, recipe, history=history, after_step=interrupt)
    assert len(history.losses) == 7
    assert len(history.epochs) == 1
    assert same(weights(model), steps[-1])
    assert not same(steps[-1], steps[-2])
    assert evaluation.predict(model, digits.images).isfinite().all()
    fit(model, digits, SMALL, history=history)
    assert len(history.losses) == 7 + 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step(model, digits, value):
    history, steps = History(), []

    def break_third(images):
        inputs = data.to_input(images)
        return inputs if len(steps) < 2 else inputs * value

    with pytest.raises(FloatingPointError, match="loss nan: lower recipe.learning_rate"):
        fit(
            model,
            digits,
            SMALL,
            history=history,
            transform=break_third,
            after_step=lambda model: steps.append(weights(model)),
        )
    assert len(steps) == 2
    assert same(weights(model), steps[-1])
    assert len(history.losses) == 2
    assert all(torch.tensor(history.losses).isfinite())


@pytest.mark.parametrize("softmax", [False, True])
def test_a_recipe_for_the_other_kind_of_network(digits, softmax):
    model = LeNet(softmax=not softmax)
    before = weights(model)
    with pytest.raises(ValueError, match=rf"expected LeNet\(softmax={softmax}\)"):
        fit(model, digits, Recipe(epochs=1, softmax=softmax))
    assert same(weights(model), before)


# The learning rate


def rates(recipe, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    schedule = training.make_schedule(optimizer, recipe, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_one_cycle_peaks_after_a_fifth_and_ends_near_nothing():
    found = rates(Recipe(epochs=1, learning_rate=0.5, schedule="one_cycle"), steps=100)
    assert max(found) == pytest.approx(0.5)
    assert abs(found.index(max(found)) - 20) <= 1
    assert found[0] < 0.05
    assert found[-1] < 0.001
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


def test_the_constant_schedule():
    assert rates(Recipe(epochs=1, learning_rate=0.5), steps=10) == [0.5] * 10


@pytest.mark.parametrize("schedule, last_is_small", [("constant", False), ("one_cycle", True)])
def test_fit_follows_the_schedule(model, digits, schedule, last_is_small):
    states = [weights(model)]
    recipe = Recipe(epochs=2, learning_rate=1e-2, schedule=schedule)
    fit(model, digits, recipe, after_step=lambda model: states.append(weights(model)))
    moved = [
        max((after[name] - before[name]).abs().max().item() for name in before)
        for before, after in zip(states[:-1], states[1:], strict=True)
    ]
    assert (moved[-1] < max(moved) / 100) == last_is_small


def test_unknown_schedule(model, digits):
    with pytest.raises(ValueError, match='"constant" or "one_cycle", got \'cosine\''):
        fit(model, digits, Recipe(epochs=1, schedule="cosine"))


# Where, and how long


def test_device_is_the_one_asked_for(monkeypatch):
    monkeypatch.setenv("LENET_DEVICE", "meta")
    assert training.device() == torch.device("meta")
    monkeypatch.setenv("LENET_DEVICE", "cpu")
    assert training.device() == torch.device("cpu")


def test_device_is_else_an_accelerator_else_the_cpu(monkeypatch):
    monkeypatch.delenv("LENET_DEVICE")
    for found, expected in [(None, "cpu"), (torch.device("cuda"), "cuda")]:
        monkeypatch.setattr(
            torch.accelerator, "current_accelerator", lambda check_available, found=found: found
        )
        assert training.device() == torch.device(expected)


def test_fit_can_be_read_in_one_piece():
    function = ast.parse(inspect.getsource(fit)).body[0]
    docstring, first = function.body[:2]
    assert isinstance(docstring.value, ast.Constant)
    assert function.end_lineno - first.lineno + 1 <= 40
