"""The training loop: what is learnt, what is written down, what is refused."""

import inspect
import math
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_utils import data, evaluation, training
from lenet_utils.models import LeNet
from lenet_utils.training import RECIPES, History, Recipe, Trained, fit

SMALL = Recipe(epochs=1)


@pytest.fixture(scope="module")
def digits():
    """300 images: four batches of 64 and one of 44."""
    return data.Digits(*(tensor[:300] for tensor in data.load("test")))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LeNet()


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def batches(digits, *sizes):
    return list(zip(*(tensor.split(sizes) for tensor in digits), strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_falls_with_every_recipe(name, digits):
    history = training.train(replace(RECIPES[name], epochs=8), digits).history
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"] - 0.2
    assert history.epochs[-1]["train_accuracy"] > 0.5


def test_equal_recipes_have_the_same_hash():
    assert len({*RECIPES.values(), replace(RECIPES["robust"])}) == len(RECIPES)


def test_the_recipe_of_the_write_up():
    recipe = Recipe(10, 1e-3, "constant", (0.9, 0.999), 0.0, 64, softmax=True)
    assert RECIPES["write_up"] == recipe
    assert RECIPES["logits"] == replace(recipe, softmax=False)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_fit_walks_uneven_batches_by_these_steps(model, digits, schedule):
    recipe = Recipe(2, 6e-3, schedule, (0.8, 0.95), label_smoothing=0.1)
    model.to(memory_format=torch.channels_last)
    optimizer = training.adam(model.parameters(), recipe)
    scheduler = training.make_schedule(optimizer, recipe, steps=8)
    expected = History()
    for _ in range(2):
        loss_sum, right = 0.0, 0
        for images, labels in batches(digits, 64, 50, 10, 176):
            outputs = model(images.float())
            loss = F.cross_entropy(outputs, labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            expected.losses.append(loss.item())
            loss_sum += loss.item() * len(labels)
            right += (outputs.argmax(1) == labels).sum().item()
        expected.epochs.append({"train_loss": loss_sum / 300, "train_accuracy": right / 300})
    epoch = batches(digits, 64, 50, 10, 176)
    trained = training.train(recipe, epoch, transform=torch.Tensor.float)
    assert torch.equal(weights(trained.model), weights(model))
    assert trained.history == expected


def test_every_epoch_begins_in_training_mode_with_the_images_shuffled_anew(model, digits):
    seen, modes = [], []

    def note(images):
        seen.append(images)
        modes.append(model.training)
        return data.to_input(images)

    def switch(model):
        model.train(len(modes) != 4)  # off at the end of the first epoch

    recipe = Recipe(epochs=2, batch_size=80)
    fit(model.eval(), digits, recipe, validation=digits, transform=note, after_step=switch)
    assert modes == [True] * 8
    assert [len(images) for images in seen] == [80, 80, 80, 60] * 2
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert not torch.equal(first, digits.images) and not torch.equal(first, second)
    for images in (first, second):
        assert torch.equal(*(i.flatten(1).unique(dim=0) for i in (images, digits.images)))


def test_another_optimiser_of_all_parameters_and_the_recipe(model, digits):
    recipe, before = Recipe(epochs=1, learning_rate=0.5, batch_size=300), weights(model)
    fit(model, digits, recipe, optimizer=lambda p, recipe: torch.optim.SGD(p, recipe.learning_rate))
    gradient = torch.cat([value.grad.flatten() for value in model.parameters()])
    torch.testing.assert_close(weights(model), before - 0.5 * gradient)


def test_another_loss_in_training_and_validation(model, digits):
    recipe, seen = Recipe(epochs=1, learning_rate=0.5, batch_size=300, label_smoothing=0.1), []

    def squares(outputs, labels):
        seen.append(outputs.detach())
        return (outputs - F.one_hot(labels, 10)).square().sum()

    before = weights(model)
    options = {"optimizer": lambda p, recipe: torch.optim.SGD(p, 1e-4), "validation": digits}
    history = fit(model, digits, recipe, criterion=squares, **options)
    gradient = torch.cat([value.grad.flatten() for value in model.parameters()])
    torch.testing.assert_close(weights(model), before - 1e-4 * gradient)
    assert len(seen) == 2 and torch.equal(seen[1], evaluation.predict(model, digits.images))
    expected = (seen[1] - F.one_hot(digits.labels, 10)).square().sum().item()
    assert history.epochs[0]["validation_loss"] == pytest.approx(expected)
    assert history.losses[0] != pytest.approx(expected)


def another_network():
    return nn.Sequential(OrderedDict(f=nn.Flatten(), l=nn.Linear(1024, 10), softmax=nn.Softmax(1)))


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("network", [None, another_network])
def test_train_is_a_seed_a_network_and_fit(digits, softmax, network):
    recipe = Recipe(epochs=2, softmax=softmax)
    torch.manual_seed(5)
    model = LeNet(softmax=softmax) if network is None else network()
    expected = fit(model, digits, recipe, seed=5, validation=digits)
    torch.rand(5)  # what was drawn before does not matter
    options = {"validation": digits, "history": History(), "after_step": (steps := []).append}
    trained = training.train(recipe, digits, seed=5, network=network, **options)
    assert trained == Trained(trained.model, recipe, 5, expected)
    assert trained.history is options["history"] and steps == [trained.model] * 10
    assert type(trained.model) is type(model)
    assert torch.equal(weights(trained.model), weights(model))


def test_the_seed_decides_the_start_and_the_order(model, digits):
    still = Recipe(epochs=1, learning_rate=0.0)
    default, one = training.train(still, digits), training.train(still, digits, seed=1)
    assert default.seed == 0 and torch.equal(weights(default.model), weights(model))
    assert not torch.equal(weights(default.model), weights(one.model))
    losses = [fit(model, digits, still, **seed).losses for seed in ({}, {"seed": 0}, {"seed": 1})]
    assert losses[0] == losses[1] == default.history.losses != losses[2]


def test_validation_figures_are_those_after_the_epoch_with_plain_labels(model, digits):
    others = data.Digits(digits.images[100:], digits.labels[100:])
    row = fit(model, digits, Recipe(1, label_smoothing=0.1), validation=others).epochs[0]
    outputs = evaluation.predict(model, others.images)
    assert list(row)[2:] == ["validation_loss", "validation_accuracy"]
    assert row["validation_loss"] == F.cross_entropy(outputs, others.labels).item()
    assert row["validation_accuracy"] == (outputs.argmax(1) == others.labels).sum().item() / 200


@pytest.mark.parametrize("label", [-1, 0, 9, 10])
def test_validation_labels_are_classes(model, digits, label):
    others = data.Digits(digits.images[:2], torch.tensor([label, label]))
    if 0 <= label < 10:  # one class alone will do
        assert training.check_task(model, digits, SMALL, others) is None
    else:
        with pytest.raises(ValueError, match=f"validation labels below 10, got {label}…{label}"):
            training.check_task(model, digits, SMALL, others)


def test_history_as_a_table():
    history = History([3.0, 1.0], [{"train_loss": 2.0, "train_accuracy": 0.25}])
    header, row = "epoch  train_loss  train_accuracy", "    1      2.0000          0.2500"
    assert str(history) == f"{header}\n{row}" and str(History()) == "epoch"


def test_an_interrupt_passes_through_and_leaves_model_and_history(model, digits):
    history, steps = History(), []

    def interrupt(model):
        steps.append(weights(model))
        if len(steps) == 7:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, digits, Recipe(epochs=3), history=history, after_step=interrupt)
    assert (len(history.losses), len(history.epochs)) == (7, 1)
    assert torch.equal(weights(model), steps[-1]) and not torch.equal(steps[-1], steps[-2])
    assert fit(model, digits, SMALL, history=history) is history
    assert (len(history.losses), len(history.epochs)) == (7 + 5, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(model, digits, value):
    history, steps, epoch = History(), [], batches(digits, 100, 100, 100)
    epoch[2] = epoch[2][0], torch.full((100, 10), value)  # the share of each class in each image
    with pytest.raises(FloatingPointError, match=f"loss {value}: lower recipe.learning_rate"):
        fit(model, epoch, SMALL, history=history, after_step=lambda m: steps.append(weights(m)))
    assert len(steps) == 2 and torch.equal(weights(model), steps[-1])
    assert len(history.losses) == 2 and all(map(math.isfinite, history.losses))


@pytest.fixture
def refused(model, digits):
    def refused(match, model=model, **arguments):
        before, history = weights(model), History()
        with pytest.raises(ValueError, match=match):
            fit(model, **{"train": digits, "recipe": SMALL} | arguments, history=history)
        return history == History() and torch.equal(weights(model), before)

    return refused


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize("images, labels", [(0, 0), (3, 2), (2, 3), (0, 3), (3, 0)])
def test_no_digits_or_unequally_many(refused, digits, name, images, labels):
    wrong = data.Digits(digits.images[:images], digits.labels[:labels])
    assert refused(f"expected {name} images, as many as labels", **{name: wrong})


def test_an_epoch_without_batches(refused):
    assert refused("expected at least one batch in each epoch", train=[])


def test_a_recipe_for_another_network_or_unknown(refused):
    assert refused(r"expected LeNet\(softmax=True\)", recipe=Recipe(epochs=1, softmax=True))
    assert refused(r"expected LeNet\(softmax=False\)", model=LeNet(softmax=True))
    assert refused('"constant" or "one_cycle", got \'cosine\'', recipe=Recipe(1, schedule="cosine"))


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_adam_at_the_rate_of_the_schedule(schedule):
    rates, recipe = [], Recipe(1, 0.5, schedule, betas=(0.5, 0.75))
    optimizer = training.adam([torch.zeros(1, requires_grad=True)], recipe)
    scheduler, group = training.make_schedule(optimizer, recipe, 100), optimizer.param_groups[0]
    for _ in range(100):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    assert type(optimizer) is torch.optim.Adam
    assert (group["betas"], group["fused"], group["weight_decay"]) == ((0.5, 0.75), True, 0)
    if schedule == "constant":
        assert rates == [0.5] * 100
    else:  # up over a fifth, then down to nothing
        assert max(rates) == pytest.approx(0.5) and rates[0] < 0.05 and rates[-1] < 0.001
        assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_cycle_of_few_steps(steps):
    optimizer = training.adam([torch.zeros(1, requires_grad=True)], recipe := Recipe(1, 0.5))
    schedule = training.make_schedule(optimizer, replace(recipe, schedule="one_cycle"), steps)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= 0.5
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("there", ["cuda", None])
@pytest.mark.parametrize("name", ["cpu", " CPU ", "", " ", None])
def test_device_is_as_asked_for_else_an_accelerator_else_the_cpu(monkeypatch, name, there):
    def accelerator(check_available=False):
        return torch.device(there) if there and check_available else None

    monkeypatch.setattr(torch.accelerator, "current_accelerator", accelerator)
    monkeypatch.setattr("os.environ", {} if name is None else {"LENET_DEVICE": name})
    assert training.device() == torch.device((name or "").strip().lower() or there or "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_misspelt_or_not_there(monkeypatch, refused, name):
    monkeypatch.setenv("LENET_DEVICE", name)
    assert refused(f"the environment variable LENET_DEVICE is '{name}', .*: set it to cpu")


def test_fit_can_be_read_in_one_piece():
    signature, docstring, body = inspect.getsource(fit).split('"""')
    assert len(body.strip().splitlines()) <= 40


@pytest.mark.parametrize("progress, bar", [(True, "5/5"), (False, "")])
def test_the_bar_is_drawn_if_asked_for(model, digits, capsys, progress, bar):
    fit(model, digits, SMALL, progress=progress)
    drawn = capsys.readouterr().err
    assert bar in drawn and bool(drawn) == progress
