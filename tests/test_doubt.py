"""What chapter 11 writes out: corruptions, scores of doubt, ROC curves, conformal sets.

The functions are those of its cells, found by their ids. Each check is also run on copies that are
broken on purpose, and must notice.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cells import Checks
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score, roc_curve

from lenet_utils import data, evaluation, plots, training

TEST = data.load("test")
MODEL = training.shipped("plain").model
Y, X = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
CHECKS = Checks(
    11,
    "spoil-light spoil-clouds spoil-lines spoil-drawn corrupt scores auroc risk-coverage halves "
    "none-areas-again outcomes conformal three",
    **{"data": data, "evaluation": evaluation, "plots": plots, "math": math},
    **{"torch": torch, "F": F, "np": np, "Y": Y, "X": X},
)
notices = CHECKS.notices
BY_CHANCE = ("noise", "fog", "spatter", "stripe", "dotted_line", "zigzag")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def knows_nothing(logits):
    return torch.zeros(len(logits))


# Corruptions


@notices(
    ("corrupt", ".to(torch.uint8)", ""),
    ("corrupt", "manual_seed(seed)", "manual_seed(0)"),
    ("spoil-light", "torch.randn(ink.shape, generator=chance)", "torch.randn(ink.shape)"),
    ("spoil-clouds", "torch.rand(count, 1, cells, cells", "torch.rand(1, 1, cells, cells"),
    ("spoil-clouds", "cells, cells, generator=chance", "cells, cells"),
    ("spoil-lines", "(len(ink), 1, 1, 1), generator=chance", "(1, 1, 1, 1), generator=chance"),
    ("spoil-drawn", "points, generator=chance", "points"),
)
def each_image_is_spoilt_by_its_seed_and_in_its_own_way(chapter):
    assert [kind.__name__ for kind in chapter.KINDS if kind.__name__ in BY_CHANCE] != []
    assert {kind.__name__ for kind in chapter.KINDS} == {*BY_CHANCE, "blur", "contrast"}
    images = TEST.images[:1].repeat(3, 1, 1, 1)
    before = images.clone()
    for kind in chapter.KINDS:
        for strength in (1, 3, 5):
            spoilt = chapter.corrupt(images, kind, strength, seed=4)
            assert torch.equal(images, before)
            assert (spoilt.dtype, spoilt.shape) == (torch.uint8, images.shape)
            assert torch.equal(spoilt, chapter.corrupt(images, kind, strength, seed=4))
            if kind.__name__ in BY_CHANCE:
                assert not torch.equal(spoilt, chapter.corrupt(images, kind, strength, seed=5))
                assert not torch.equal(spoilt[0], spoilt[1])


@notices(
    ("spoil-light", "0.12 * strength", "0.12"),
    ("spoil-light", "0.5 * strength", "0.5"),
    ("spoil-light", "0.18 * strength", "0.18"),
    ("spoil-clouds", "0.15 * strength", "0.15"),
    ("spoil-clouds", "0.07 * strength", "0.07"),
    ("spoil-lines", "left + 2 * strength", "left + 2"),
    ("spoil-drawn", "range(strength)", "range(2)"),
    ("spoil-drawn", "0.5 * strength", "0.5"),
    ("corrupt", ".clamp(0, 1)", ""),
)
def each_strength_changes_more_than_the_one_before(chapter):
    images = TEST.images[:200]
    for kind in chapter.KINDS:
        changes = [0.0]
        for strength in range(1, 6):
            spoilt = chapter.corrupt(images, kind, strength)
            changes.append((spoilt.float() - images).abs().mean().item() / 255)
        assert all(more > less + 0.001 for less, more in zip(changes, changes[1:], strict=False))
        assert changes[1] < 0.1 and changes[5] < 0.4


@notices(
    ("spoil-light", "bell = bell / bell.sum()", "bell = bell / bell.max()"),
    ("spoil-light", "** 2 / 2).exp()", "** 2 / 1).exp()"),
    ("spoil-light", "F.conv2d(across,", "F.conv2d(ink,"),
)
def blur_is_scipys(chapter):
    ink = TEST.images[:3] / 255
    for strength in (1, 2, 4):
        spread = 0.5 * strength
        expected = gaussian_filter(
            ink.numpy(), (0, 0, spread, spread), mode="constant", truncate=6 / spread
        )
        assert np.allclose(chapter.blur(ink, strength, generator()), expected, atol=1e-5)


@notices(("spoil-light", "ink.mean((2, 3), keepdim=True)", "ink.mean()"))
def contrast_keeps_the_mean_of_each_image(chapter):
    ink = TEST.images[:5] / 255
    grey = chapter.contrast(ink, 4, generator())
    assert torch.allclose(grey.mean((1, 2, 3)), ink.mean((1, 2, 3)), atol=1e-6)
    assert torch.allclose(grey.std((1, 2, 3)), 0.28 * ink.std((1, 2, 3)), atol=1e-6)


@notices(
    ("spoil-lines", "1 - ink", "0 * ink"),
    ("spoil-lines", "X >= left", "Y >= left"),
    ("spoil-lines", "X < left", "X <= left"),
)
def a_stripe_swaps_ink_and_paper_in_some_columns(chapter):
    ink = TEST.images[:50] / 255
    for strength in (1, 3, 5):
        spoilt = chapter.stripe(ink, strength, generator(strength))
        columns = (spoilt != ink).any(2)[:, 0]
        for image, swapped, inside in zip(ink, spoilt, columns, strict=True):
            places = inside.nonzero().flatten()
            assert len(places) == 2 * strength == places[-1] - places[0] + 1
            assert torch.equal(swapped[0][:, inside], 1 - image[0][:, inside])


@notices(
    ("spoil-lines", "33 - 2 * strength", "32 - 2 * strength"),
    ("spoil-lines", "33 - 2 * strength", "34 - 2 * strength"),
    ("spoil-lines", "torch.randint(0, 33", "torch.randint(1, 33"),
)
def a_stripe_may_lie_anywhere_within_the_image(chapter):
    paper = torch.zeros(2_000, 1, 32, 32)
    for strength in (1, 5):
        columns = chapter.stripe(paper, strength, generator())[:, 0, 0]
        assert columns.any(0).all() and (columns.sum(1) == 2 * strength).all()


@notices(
    ("spoil-lines", ".minimum(lengths)", ""),
    ("spoil-lines", ".clamp(min=0)", ""),
    ("spoil-lines", "(Y - y) * dy + (X - x) * dx", "(Y - y) * dx + (X - x) * dy"),
    ("spoil-lines", "width / 2 + 0.5", "width + 0.5"),
)
def a_line_has_its_ends_and_its_width(chapter):
    """One to the right, one upwards, one aslant."""
    starts = torch.tensor([[5.0, 3.0], [30.0, 8.0], [4.0, 2.0]])
    ends = torch.tensor([[5.0, 20.0], [10.0, 8.0], [10.0, 10.0]])
    along, ink = chapter.line(starts, ends, width=2)
    assert along.shape == ink.shape == (3, 1, 32, 32)
    level = torch.zeros(32, 32)
    level[5, 3:21] = 1
    level[[4, 6], 3:21] = 0.5
    level[5, [2, 21]] = 0.5
    level[[4, 4, 6, 6], [2, 21, 2, 21]] = 1.5 - 2**0.5
    assert torch.allclose(ink[0, 0], level, atol=1e-5)
    assert ink[1, 0, 10:31, 8].min() == 1 and ink[1, 0, 11:30, 7].eq(0.5).all()
    assert ink[1, 0, :9].max() == 0 and ink[1, 0, 15, [6, 10]].max() == 0
    assert [along[0, 0, 9, 13].item(), along[1, 0, 20, 0].item()] == [10, 10]
    assert along[2, 0, 10, 10].item() == pytest.approx(10) and ink[2, 0, 7, 6].item() == 1
    assert ink[2, 0, 16, 18].item() == 0


@notices(("spoil-drawn", "along % 4 < 2", "along % 4 < 4"), ("spoil-drawn", "width=2", "width=4"))
def half_of_a_dotted_line_is_there(chapter):
    paper = torch.zeros(200, 1, 32, 32)
    dots = chapter.dotted_line(paper, 1, generator())
    starts, ends = chapter.across(200, 2, generator()).unbind(1)
    whole = chapter.line(starts, ends, width=2)[1]
    assert dots.sum().item() == pytest.approx(0.5 * whole.sum().item(), rel=0.03)
    assert (dots <= whole).all()
    assert starts[:, 1].eq(0).all() and ends[:, 1].eq(31).all()


@notices(
    ("three", "list(images.chunk(4))", "list(images.flip(0).chunk(4))"),
    ("three", "torch.cat(parts)", "torch.cat(parts[::-1])"),
    ("three", "parts[place] = corrupt(parts[place]", "parts[place] = corrupt(parts[0]"),
)
def a_batch_is_spoilt_in_three_quarters_and_keeps_its_order(chapter):
    torch.manual_seed(0)
    images = TEST.images[:40]
    inputs = chapter.spoil(images)
    assert (inputs.dtype, inputs.shape) == (torch.float32, images.shape)
    clean = data.to_input(images)
    changed = (inputs != clean).flatten(1).any(1)
    assert changed[:30].all() and not changed[30:].any()
    closest = (inputs[:, None] - clean[None]).abs().mean((2, 3, 4)).argmin(1)
    assert (closest == torch.arange(40)).double().mean() > 0.8


# Scores, curves


@notices(
    ("scores", "logits.logsumexp(1)", "-logits.logsumexp(1)"),
    ("scores", "logits.logsumexp(1)", "logits.exp().sum(1)"),
    ("scores", "softmax(1).amax(1)", "softmax(1).amin(1)"),
    ("scores", "return logits.amax(1)", "return logits.softmax(1).amax(1)"),
)
def scores(chapter):
    logits = torch.tensor([[1.0, -2.0, 0.5], [6.0, 3.0, 5.5]])
    exponentials = [[math.exp(value) for value in row] for row in logits.tolist()]
    energies = [math.log(sum(row)) for row in exponentials]
    assert chapter.energy_score(logits).tolist() == pytest.approx(energies, abs=1e-5)
    most = [max(row) / sum(row) for row in exponentials]
    assert chapter.top_probability(logits).tolist() == pytest.approx(most, abs=1e-5)
    assert chapter.top_logit(logits).tolist() == [1, 6]
    static = torch.randint(0, 256, (100, 1, 32, 32), generator=generator(), dtype=torch.uint8)
    known, other = (evaluation.predict(MODEL, images) for images in (TEST.images[:100], static))
    for score in chapter.SCORES.values():
        assert score(known).median() > score(other).max()


@notices(
    ("auroc", "lower + lower_or_equal", "lower + lower"),
    ("auroc", "lower + lower_or_equal", "lower_or_equal + lower_or_equal"),
    ("auroc", "2 * len(other)", "2 * len(known)"),
    ("auroc", "others, known)\n", "others, -known)\n"),
)
def area_is_scikit_learns_with_ties(chapter):
    for seed, (n, m, values) in enumerate([(40, 90, 5), (300, 20, 1000), (7, 7, 2)]):
        known = torch.randint(1, values + 1, (n,), generator=generator(seed)).double()
        other = torch.randint(0, values, (m,), generator=generator(seed + 9)).double()
        truth = np.repeat([1, 0], [n, m])
        expected = roc_auc_score(truth, torch.cat([known, other]))
        assert chapter.auroc(known, other) == pytest.approx(expected, abs=1e-9)


@notices(
    ("auroc", ".flip(0)", ""),
    ("auroc", "1 - count / len(scores)", "count / len(scores)"),
    ("auroc", "(other, known)]", "(known, other)]"),
)
def curve_is_scikit_learns(chapter):
    known = torch.randint(1, 9, (50,), generator=generator(1)).double()
    other = torch.randint(0, 8, (30,), generator=generator(2)).double()
    slipped, answered = chapter.roc(known, other)
    truth = np.repeat([1, 0], [50, 30])
    theirs = roc_curve(truth, torch.cat([known, other]), drop_intermediate=False)
    assert np.allclose(slipped, theirs[0][1:]) and np.allclose(answered, theirs[1][1:])
    area = torch.trapezoid(F.pad(answered, (1, 0)), F.pad(slipped, (1, 0))).item()
    assert area == pytest.approx(chapter.auroc(known, other), abs=1e-6)


@notices(
    ("risk-coverage", "descending=True", "descending=False"),
    ("risk-coverage", "cumsum(0) / answered", "cumsum(0) / len(score)"),
    ("risk-coverage", "torch.arange(1, len(score) + 1)", "torch.arange(len(score))"),
)
def risk_grows_with_coverage(chapter):
    score, wrong = torch.tensor([0.2, 0.9, 0.5, 0.7]), torch.tensor([True, False, False, True])
    coverage, risk = chapter.risk_coverage(score, wrong)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])


@notices(
    ("halves", "order[first:]", "order[:first]"),
    ("halves", "manual_seed(seed)", "manual_seed(0)"),
)
def parts_are_random_and_disjoint(chapter):
    parts = list(chapter.halves(3, first=300))
    for mine, other in parts:
        assert len(mine) == 300
        assert torch.equal(torch.cat([mine, other]).sort().values, torch.arange(10_000))
    assert not torch.equal(parts[0][0], parts[1][0])


@notices(
    ("outcomes", ">= limit", "< limit"),
    ("outcomes", "answered & ~right", "~right"),
    ("outcomes", "argmax(1) == digits.labels", "argmax(1) != digits.labels"),
)
def what_becomes_of_each_image_is_counted(chapter):
    digits = data.Digits(TEST.images[:1_000], TEST.labels[:1_000])
    expected, limit = [0, 0, 0], 0.9
    for row, label in zip(evaluation.predict(MODEL, digits.images), digits.labels, strict=True):
        sure = row.softmax(0).max() >= limit
        expected[(0 if row.argmax() == label else 1) if sure else 2] += 1
    assert min(expected) > 0
    assert chapter.outcomes(MODEL, limit, digits) == expected


@notices(
    ("none-areas-again", "kind == 'letters'", "kind == 'static'"),
    ("none-areas-again", "groups[:, torch", "groups[:1, torch"),
    ("none-areas-again", "view(-1, 15)", "view(15, -1)"),
)
def letters_are_redrawn_with_all_their_fonts(chapter):
    chapter.none = {"letters": torch.zeros(60), "static": torch.zeros(40)}
    for drawn in chapter.redrawn("letters", 5):
        assert len(drawn) == 60
        letter = drawn.view(4, 15) - 15 * torch.arange(4)[:, None]
        assert (letter == letter[0]).all() and (0 <= letter).all() and (letter < 15).all()
    first, second = chapter.redrawn("static", 2)
    assert len(first) == 40 and 0 <= first.min() and first.max() < 40
    assert 15 < len(first.unique()) < 35 and not torch.equal(first, second)


@notices(
    ("none-areas-again", "first - second", "second - first"),
    ("none-areas-again", "0.975", "0.5"),
    ("none-areas-again", "o[drawn]", "o"),
)
def gap_of_areas_has_its_interval(chapter):
    """A score that separates better; its interval is compared with one of many more drawings."""
    images = TEST.images[:300].flip(-1, -2)
    chapter.none, chapter.networks = {"turned": images}, {"plain": MODEL}
    chapter.logits = {"plain": evaluation.predict(MODEL, TEST.images[:300])}
    pairs = [("plain", score) for score in (chapter.top_probability, knows_nothing)]
    low, high = chapter.area_gap("turned", *pairs)
    known = chapter.top_probability(chapter.logits["plain"])
    other = chapter.top_probability(evaluation.predict(MODEL, images))
    chance = np.random.default_rng(0)
    areas = [
        chapter.auroc(known, other[torch.from_numpy(chance.integers(0, 300, 300))]) - 0.5
        for _ in range(2_000)
    ]
    assert [low, high] == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.006)


# Sets


@notices(
    ("conformal", "len(strange) + 1", "len(strange)"),
    ("conformal", "len(strange) + 1", "len(strange) + 2"),
    ("conformal", "rank - 1", "rank - 2"),
    ("conformal", "math.ceil(round(", "math.floor(round("),
    ("conformal", "round((len(strange) + 1) * (1 - alpha), 9)", "(len(strange) + 1) * (1 - alpha)"),
    ("conformal", "math.inf", "1.0"),
)
def limit_is_the_smallest_that_keeps_the_promise(chapter):
    """Of n + 1 images in all orders: how often the new one is within the limit of the others."""
    for alpha in ("0.7", "0.5", "0.3", "0.1", "0.05", "0.01", "0.002"):
        for n in (1, 2, 4, 8, 9, 10, 18, 19, 20, 49, 98, 99, 100, 499, 500):
            strange = torch.arange(1.0, n + 1)[torch.randperm(n, generator=generator(n))]
            limit = chapter.conformal_limit(strange, float(alpha))
            # A new one that is the j-th of n + 1 lies below the j-th of the others.
            within = sum(j - 0.5 <= limit for j in range(1, n + 2))
            promised = 1 - Fraction(alpha)
            assert Fraction(within, n + 1) >= promised > Fraction(within - 1, n + 1)


@notices(
    ("conformal", "<= limit", "< limit"),
    ("conformal", "<= limit", "> limit"),
    ("conformal", "return 1 - logits.softmax(1).gather", "return logits.softmax(1).gather"),
    ("conformal", "return 1 - logits.softmax(1) <=", "return logits.softmax(1) <="),
    ("conformal", "labels[:, None]", "labels[:, None] * 0"),
)
def sets_hold_what_is_no_stranger_than_the_limit(chapter):
    logits, labels = evaluation.predict(MODEL, TEST.images[:2_000]), TEST.labels[:2_000]
    strange = chapter.strangeness(logits, labels)
    expected = [1 - row.softmax(0)[label].item() for row, label in zip(logits, labels, strict=True)]
    assert strange.tolist() == pytest.approx(expected, abs=1e-6)
    for limit in (strange.median().item(), strange.sort().values[-3].item(), math.inf):
        sets = chapter.prediction_sets(logits, limit)
        assert (sets.dtype, sets.shape) == (torch.bool, (2_000, 10))
        assert torch.equal(sets[torch.arange(2_000), labels], strange <= limit)
        outside = sets.sum() - sets[torch.arange(2_000), labels].sum()
        assert limit < math.inf or outside == 9 * 2_000
    assert chapter.prediction_sets(logits, 0.5).sum(1).max() == 1


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()
