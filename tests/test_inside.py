"""What chapter 06 writes out: patches, silencing, attacks, integrated gradients, probes.

The functions are those of its cells, found by their ids. Each check is also run on copies that are
broken on purpose, and must notice.
"""

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients
from cells import Checks
from sklearn.linear_model import Ridge

from lenet_utils import data, evaluation, models, training

NETWORKS = {name: training.shipped(name).model for name in ("plain", "robust")}
TEST = data.load("test")
LOW, HIGH = data.to_input(torch.tensor([[0.0, 1.0]])).flatten().tolist()
CHECKS = Checks(
    6,
    "layers fields patches silence occlude attack patching roughness integrated-gradients probe",
    "table fields",
    **{"data": data, "evaluation": evaluation, "models": models, "np": np, "F": F, "torch": torch},
    **{"networks": NETWORKS, "low": LOW, "high": HIGH, "labels": TEST.labels[:100]},
    test=data.Digits(TEST.images[:100], TEST.labels[:100]),
    inputs=data.to_input(TEST.images[:100]),
)
notices = CHECKS.notices


def digits(count):
    return data.to_input(TEST.images[:count]), TEST.labels[:count]


@notices(
    ("integrated-gradients", "+ 0.5", "+ 0.0"),
    ("integrated-gradients", "gradients.mean(0", "gradients.sum(0"),
    ("integrated-gradients", "baseline + parts", "parts"),
    ("integrated-gradients", "[:, label]", "[:, 0]"),
)
def integrated_gradients_are_captums(chapter):
    inputs, labels = digits(4)
    for model in NETWORKS.values():
        for baseline in (torch.full((1, 1, 32, 32), -0.4), torch.full((1, 1, 32, 32), 1.0)):
            for image, label in zip(inputs[:, None], labels.tolist(), strict=True):
                ours = chapter.integrated_gradients(model, image, label, baseline, steps=40)
                theirs = IntegratedGradients(model).attribute(
                    image, baseline, target=label, n_steps=40, method="riemann_middle"
                )
                assert ours.shape == theirs.shape == (1, 1, 32, 32)
                assert torch.allclose(ours, theirs.float(), atol=1e-4)


@notices(
    ("patches", "jump * places", "places"),
    ("patches", "c:c + field", "r:r + field"),
    ("patches", "r:r + field, c:c", "r:r + field - 1, c:c"),
)
def a_unit_depends_on_its_patch_and_on_nothing_else(chapter):
    numbers = torch.arange(1024).view(1, 1, 32, 32)  # so that a patch tells where it was cut
    torch.manual_seed(0)
    model = models.LeNet().eval()
    for layer, (row, column) in {"C1": (3, 17), "C3": (7, 2), "C5": (0, 0)}.items():
        first, inside = model.network[: chapter.ENDS[layer]], torch.zeros(1024, dtype=torch.bool)
        inside[chapter.patches(layer, numbers, torch.tensor([[row, column]])).flatten()] = True
        inside, depends = inside.view(32, 32), torch.zeros(32, 32, dtype=torch.bool)
        for _ in range(30):  # a pixel may not be the largest in its pool, or its ReLU off
            inputs = torch.randn(1, 1, 32, 32, requires_grad=True)
            values = first(inputs)[0, :, row, column]
            depends |= torch.autograd.grad(values.sum(), inputs)[0][0, 0] != 0
            others = torch.where(inside, inputs, torch.randn(1, 1, 32, 32))
            assert torch.allclose(values, first(others)[0, :, row, column], atol=1e-5)
        assert torch.equal(depends, inside)


@notices(
    ("patches", "// width, places[images] % width", "% width, places[images] // width"),
    ("patches", "topk(count)", "topk(count, largest=False)"),
)
def the_most_exciting_places_are_found(chapter):
    maps = torch.rand(6, 4, 7)
    for image, place, value in [(4, (1, 6), 9.0), (0, (3, 2), 8.0), (5, (0, 5), 7.0)]:
        maps[(image, *place)] = value
    images, places = chapter.most_exciting(maps, count=3)
    assert images.tolist() == [4, 0, 5]
    assert places.tolist() == [[1, 6], [3, 2], [0, 5]]


@notices(
    ("silence", "changed[:, unit] = 0", "changed[:, 0] = 0"),
    ("silence", "maps.clone()", "maps"),
    ("silence", "!= test", "== test"),
)
def silencing_after_pooling_is_silencing_before(chapter):
    model = NETWORKS["robust"]
    inputs, labels = digits(100)
    wrong = {
        layer: chapter.silenced(model, pooled) for pooled, layer in [("S2", "C1"), ("S4", "C3")]
    }
    for layer, unit in [
        *(("C1", unit) for unit in range(6)),
        *(("C3", unit) for unit in range(16)),
    ]:

        def silence(module, inputs, output, unit=unit):
            output = output.clone()
            output[:, unit] = 0
            return output

        handle = model.network[chapter.ENDS[layer] - 1].register_forward_hook(silence)
        try:
            assert torch.equal(model(inputs).argmax(1) != labels, wrong[layer][unit])
        finally:
            handle.remove()


@notices(
    ("occlude", "33 - SIDE", "32 - SIDE"),
    ("occlude", "row:row + SIDE, column:column", "column:column + SIDE, row:row"),
)
def squares_cover_every_place_once(chapter):
    for step, across in [(1, 29), (2, 15)]:
        copies = chapter.covered(torch.full((1, 32, 32), 200, dtype=torch.uint8), step)
        assert copies.shape == (across**2, 1, 32, 32)
        for number, copy in enumerate(copies):
            rows, columns = (copy[0] == 0).nonzero(as_tuple=True)
            row, column = step * (number // across), step * (number % across)
            assert (rows.min(), rows.max()) == (row, row + 3)
            assert (columns.min(), columns.max()) == (column, column + 3)
            assert len(rows) == 16


@notices(("occlude", "others[:, label] = -torch.inf", "pass"), ("occlude", "amax(1)", "amin(1)"))
def margins(chapter):
    images = TEST.images[:20]
    for model in NETWORKS.values():
        logits = evaluation.predict(model, images)
        for label in (2, 7):
            expected = [row[label] - max(row[:label] + row[label + 1 :]) for row in logits.tolist()]
            assert np.allclose(chapter.margins(model, images, label), expected, atol=1e-5)


@notices(
    ("attack", "gradient.sign()", "-gradient.sign()"),
    (
        "attack",
        "F.cross_entropy(model(inputs), labels",
        "F.cross_entropy(model(inputs), labels * 0",
    ),
)
def the_worst_direction_is_that_of_each_pixel(chapter):
    model = models.LeNet().double().eval()
    torch.manual_seed(1)
    inputs, labels = torch.randn(3, 1, 32, 32).double(), torch.tensor([3, 1, 4])
    signs = chapter.worst_direction(model, inputs, labels)
    for image, row, column in [(0, 4, 9), (1, 20, 13), (2, 15, 30), (2, 7, 7)]:
        step = torch.zeros_like(inputs)
        step[image, 0, row, column] = 1e-6
        with torch.no_grad():
            rise = [
                F.cross_entropy(model(inputs + way * step), labels, reduction="sum")
                for way in (1, -1)
            ]
        assert (rise[0] - rise[1]).sign() == signs[image, 0, row, column]


@notices(
    ("attack", "step / data.STD", "step"),
    ("attack", ".clamp(low, high)", ""),
    ("attack", "inputs + step", "inputs - step"),
)
def moves_are_measured_in_ink(chapter):
    ink = torch.tensor([[0.0, 0.4, 0.5, 1.0]])
    way = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    moved = chapter.move((ink - data.MEAN) / data.STD, way, 0.25)
    assert torch.allclose(
        moved * data.STD + data.MEAN, torch.tensor([[0, 0.15, 0.75, 1]]), atol=1e-6
    )


@notices(
    ("patching", "maps[:, unit] = model.network[:3](donor)[:, unit]", "pass"),
    (
        "patching",
        "maps[:, unit] = model.network[:3](donor)[:, unit]",
        "maps = model.network[:3](donor)",
    ),
    ("patching", "(base)", "(donor)"),
    ("patching", "(donor)", "(base)"),
)
def one_map_is_exchanged(chapter):
    model = NETWORKS["robust"]
    inputs, labels = digits(100)
    generator = torch.Generator().manual_seed(0)
    spoilt = inputs + 0.7 * torch.randn(inputs.shape, generator=generator)
    assert chapter.patched(model, inputs, inputs, 0, labels) == (
        (model(inputs).argmax(1) != labels).sum()
    )
    for base, donor in [(spoilt, inputs), (inputs, spoilt)]:
        given_away = model.network[:2](donor)
        for unit in range(6):

            def exchange(module, given, output, unit=unit, given_away=given_away):
                output = output.clone()
                output[:, unit] = given_away[:, unit]
                return output

            handle = model.network[1].register_forward_hook(exchange)
            try:
                expected = (model(base).argmax(1) != labels).sum()
            finally:
                handle.remove()
            assert chapter.patched(model, base, donor, unit, labels) == expected


@notices(("roughness", "diff(dim=3)", "diff(dim=2)"), ("roughness", "across + down", "across"))
def roughness_adds_up_differences(chapter):
    ink = torch.zeros(2, 1, 4, 5)
    ink[0, 0, 0, 2], ink[1, 0, :, 0] = 1.0, 0.5
    assert chapter.roughness(ink).tolist() == [3.0, 2.0]


@notices(
    ("probe", "known - mean, asked - mean", "known, asked"),
    ("probe", "0.01 *", "1.0 *"),
    ("probe", "+ wanted.mean(0)", "- 5 * wanted.mean(0)"),
)
def probe_is_ridge_regression(chapter):
    train = data.load("train")
    labels = train.labels[:600] % 7  # not evenly many of each
    known, asked = (data.to_input(x[:600]).flatten(1)[:, ::5] for x in (train.images, TEST.images))
    answers = chapter.probe(known, labels, asked)
    centred = (known - known.mean(0)).double()
    theirs = Ridge(alpha=0.01 * (centred**2).sum(0).mean().item())
    theirs.fit(known.double().numpy(), np.eye(10)[labels])
    assert (answers.numpy() == theirs.predict(asked.double().numpy()).argmax(1)).mean() > 0.995


def test_layers_end_after_relu_or_pooling():
    ends = CHECKS.chapter().ENDS
    assert list(ends) == ["C1", "S2", "C3", "S4", "C5", "F6"]
    assert list(ends.values()) == [2, 3, 5, 6, 8, 11]
    for layer, end in ends.items():
        expected = torch.nn.MaxPool2d if layer[0] == "S" else torch.nn.ReLU
        for model in NETWORKS.values():
            assert isinstance(model.network[end - 1], expected)


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()
