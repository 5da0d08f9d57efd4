"""How a network learns: device, recipes, the training loop, and what is kept of it in a file."""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from .data import Digits
from .distortions import distort
from .evaluation import accuracy, predict
from .files import writable, write_whole
from .models import LeNet, LeNet1998

SHIPPED = Path(__file__).with_name("shipped")  # its networks are made by tools/pretrain.py


@dataclass(frozen=True)
class Recipe:
    """How to train, as plain data; `dataclasses.replace(recipe, epochs=2)` changes one thing."""

    epochs: int
    learning_rate: float = 1e-3  # of Adam; with a schedule, its peak
    schedule: str = "constant"  # or "one_cycle": up over a fifth of all steps, then down to nothing
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    label_smoothing: float = 0.0
    batch_size: int = 64
    softmax: bool = False  # for a network that ends in one: LeNet(softmax=recipe.softmax)
    distortions: dict[str, float] = field(default_factory=dict, hash=False)  # of distort

    def inputs(self, images: Tensor) -> Tensor:
        """What a network learns from: images uint8 (B, 1, H, W), distorted anew at each call."""
        return distort(images, **self.distortions)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with smoothed labels: outputs float32 (B, C), labels int64 (B,)."""
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)


RECIPES = {
    # The network and the recipe of the write-up this project grew from, to the letter.
    "write_up": Recipe(epochs=10, softmax=True),
    # The same on logits.
    "logits": Recipe(epochs=10),
    # As accurate in one epoch: a rate that rises high and falls to nothing, and smoothed labels.
    "fast": Recipe(
        epochs=1,
        learning_rate=6e-3,
        schedule="one_cycle",
        betas=(0.8, 0.95),
        label_smoothing=0.05,
    ),
    # Three epochs, with Adam's usual betas: the network that chapter 04 judges.
    "plain": Recipe(epochs=3, learning_rate=6e-3, schedule="one_cycle", label_smoothing=0.05),
    # The same on distorted digits, of which it takes longer to have seen enough: tools/robust.py.
    "robust": Recipe(
        epochs=60,
        learning_rate=4e-3,
        schedule="one_cycle",
        label_smoothing=0.05,
        distortions={
            "turn": 30.0,
            "scale": 0.2,
            "stretch": 0.25,
            "shear": 0.25,
            "shift": 0.12,
            "stroke": 0.8,
            "elastic": 0.02,
            "coarse": 0.3,
        },
    ),
    # For MNIST's own digits: distorted less, with a lower rate, chosen by tools/accurate.py.
    "accurate": Recipe(
        epochs=40,
        learning_rate=2e-3,
        schedule="one_cycle",
        label_smoothing=0.05,
        distortions={
            "turn": 22.5,
            "scale": 0.15,
            "stretch": 0.1875,
            "shear": 0.1875,
            "shift": 0.09,
            "stroke": 0.6,
            "elastic": 0.015,
            "coarse": 0.225,
        },
    ),
}


@dataclass
class History:
    """What happened during training: the loss of every step, and a row for every finished epoch."""

    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)

    def __str__(self) -> str:
        """The epochs as a table."""
        names = list(self.epochs[0]) if self.epochs else []
        lines = ["  ".join(["epoch", *names])]
        for number, row in enumerate(self.epochs, start=1):
            cells = [f"{row[name]:>{len(name)}.4f}" for name in names]
            lines.append("  ".join([f"{number:>5}", *cells]))
        return "\n".join(lines)


class Trained(NamedTuple):
    """A trained network, and how it came about."""

    model: nn.Module
    recipe: Recipe
    seed: int
    history: History


def device() -> torch.device:
    """Where to compute: $LENET_DEVICE ("cpu", "cuda", …), else an accelerator, else the CPU.

    Raises ValueError for a device that is misspelt or not there.
    """
    name = os.environ.get("LENET_DEVICE", "").strip().lower()
    if not name:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ValueError(
            f"the environment variable LENET_DEVICE is {name!r}, which cannot be used here: "
            "set it to cpu, or to nothing, and restart"
        ) from error


def adam(parameters: Iterable[nn.Parameter], recipe: Recipe) -> Optimizer:
    """The optimiser of the recipes (D. P. Kingma, J. Ba, "Adam", 2014)."""
    return torch.optim.Adam(parameters, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def train(
    recipe: Recipe,
    digits: Digits | Iterable[tuple[Tensor, Tensor]],
    *,
    seed: int = 0,
    network: Callable[[], nn.Module] | None = None,
    **options,
) -> Trained:
    """Make a network and train it by a recipe; the seed decides its start and all that follows.

    digits   what to train on, as for `fit`
    network  makes it; a LeNet, with a softmax if the recipe says so, if left out
    options  those of `fit`, from validation to progress

    An interrupt (KeyboardInterrupt) loses the network; `fit` keeps the one it is given.
    """
    torch.manual_seed(seed)
    model = LeNet(softmax=recipe.softmax) if network is None else network()
    return Trained(model, recipe, seed, fit(model, digits, recipe, seed=seed, **options))


def fit(
    model: nn.Module,
    train: Digits | Iterable[tuple[Tensor, Tensor]],
    recipe: Recipe,
    *,
    validation: Digits | None = None,
    history: History | None = None,
    seed: int = 0,
    transform: Callable[[Tensor], Tensor] | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    optimizer: Callable[[Iterable[nn.Parameter], Recipe], Optimizer] = adam,
    after_step: Callable[[nn.Module], None] | None = None,
    progress: bool = True,
) -> History:
    """Train the model in place, on `device()`, and return what happened.

    train       digits, shuffled anew for each epoch; or an epoch's batches (images, labels) in
                anything that has a length and can be walked through many times
    validation  digits to judge the model by after each epoch
    history     a History to write into; whoever holds it still has it after an interrupt
    seed        decides the order of the images, and whatever else is drawn while training
    transform   images uint8 (B, 1, 32, 32) → inputs float32 of the same shape; `recipe.inputs`
                if left out
    criterion   outputs float32 (B, C), labels int64 (B,) → the loss; if left out, `recipe.loss`,
                for validation without smoothing
    optimizer   makes it from the model's parameters and the recipe
    after_step  called with the model after each step
    progress    whether to draw a bar

    "train_loss" and "train_accuracy" of an epoch are taken while the weights change, the validation
    figures after it. Raises ValueError for digits that are none or a recipe for another network,
    and FloatingPointError, before the step, for a loss that is infinite or not a number. An
    interrupt (KeyboardInterrupt) passes through; model and history are then as far as they got.
    """
    check_task(model, train, recipe, validation)
    history = History() if history is None else history
    torch.manual_seed(seed)
    where = device()
    model.to(where, memory_format=torch.channels_last)
    loader = train
    if isinstance(train, Digits):
        loader = DataLoader(TensorDataset(*train), batch_size=recipe.batch_size, shuffle=True)
    steps = recipe.epochs * len(loader)
    stepper = optimizer(model.parameters(), recipe)
    schedule = make_schedule(stepper, recipe, steps)
    with tqdm(total=steps, unit="step", disable=not progress) as bar:
        for _ in range(recipe.epochs):
            model.train()
            loss_sum, correct, count = 0.0, 0, 0
            for images, labels in loader:
                images, labels = images.to(where), labels.to(where)
                outputs = model(recipe.inputs(images) if transform is None else transform(images))
                loss = (criterion or recipe.loss)(outputs, labels)
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f"loss {loss.item()}: lower {recipe.learning_rate = }")
                stepper.zero_grad()
                loss.backward()
                stepper.step()
                schedule.step()
                history.losses.append(loss.item())
                if after_step is not None:
                    after_step(model)
                loss_sum += loss.item() * len(labels)
                correct += (outputs.argmax(1) == labels).sum().item()
                count += len(labels)
                bar.update()
            row = {"train_loss": loss_sum / count, "train_accuracy": correct / count}
            if validation is not None:
                outputs, labels = predict(model, validation.images), validation.labels
                row["validation_loss"] = (criterion or F.cross_entropy)(outputs, labels).item()
                row["validation_accuracy"] = accuracy(outputs.argmax(1), labels)
            history.epochs.append(row)
            bar.set_postfix(row)
    return history


def check_task(model: nn.Module, train, recipe: Recipe, validation: Digits | None) -> None:
    """Raise ValueError for what `fit` could not train or judge."""
    if isinstance(model, LeNet) and model.softmax != recipe.softmax:
        raise ValueError(f"expected LeNet(softmax={recipe.softmax}), which this recipe is for")
    for name, digits in {"train": train, "validation": validation}.items():
        if isinstance(digits, Digits) and not 0 < len(digits.images) == len(digits.labels):
            raise ValueError(f"expected {name} images, as many as labels, at least one: {digits}")
    if not isinstance(train, Digits) and not len(train):
        raise ValueError("expected at least one batch in each epoch")
    if validation is not None:
        outputs = predict(model, validation.images[:1])  # raises for images that are not for it
        low, high = validation.labels.aminmax()
        if not 0 <= low <= high < outputs.shape[1]:
            raise ValueError(
                f"expected validation labels below {outputs.shape[1]}, got {low}…{high}"
            )


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The recipe's learning rate, step by step, as a scheduler of torch.

    One cycle: L. N. Smith, N. Topin, "Super-convergence", 2017. Raises ValueError for a schedule
    that is neither "constant" nor "one_cycle".
    """
    if recipe.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    if recipe.schedule == "one_cycle":
        return OneCycleLR(
            optimizer,
            max_lr=recipe.learning_rate,
            total_steps=steps,
            pct_start=0.2 if steps != 5 else 0.3,  # OneCycleLR divides by pct_start * steps - 1
            anneal_strategy="linear",
            cycle_momentum=False,
        )
    raise ValueError(f'schedule must be "constant" or "one_cycle", got {recipe.schedule!r}')


def save(trained: Trained, path: str | Path) -> None:
    """Write a trained network of any kind to a file, whole or not at all.

    Raises OSError, with what to do, if it cannot be written; `files.writable` tells beforehand.
    """
    content = {
        "weights": {name: tensor.cpu() for name, tensor in trained.model.state_dict().items()},
        "recipe": asdict(trained.recipe),
        "seed": int(trained.seed),
        "losses": torch.tensor(trained.history.losses, dtype=torch.float64),
        "epochs": trained.history.epochs,
    }
    content["sha256"] = digest(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(writable(path), buffer.getvalue())


def restore(path: str | Path, network: nn.Module | None = None) -> Trained:
    """Read a file that `save` wrote. Executes nothing that the file may contain.

    network  an untrained one of the kind that was saved, which gets the weights; a LeNet if left
             out, with a softmax if the recipe says so

    Raises FileNotFoundError; ValueError for a file that is damaged, however little, is something
    else, or holds another network.
    """
    path = Path(path).expanduser()
    stored = io.BytesIO(path.read_bytes())
    try:
        content = torch.load(stored, map_location="cpu", weights_only=True)
        if content["sha256"] != digest(content):
            raise ValueError("its content is not what was saved")
        recipe, weights = Recipe(**content["recipe"]), content["weights"]
        history = History(content["losses"].tolist(), content["epochs"])
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"{path} is damaged, or was not written by training.save of this version: save it again"
        ) from error
    model = LeNet(softmax=recipe.softmax) if network is None else network
    kinds = [
        {name: (t.dtype, t.shape) for name, t in d.items()} for d in (weights, model.state_dict())
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{path} holds another network than {type(model).__name__}: pass one of its kind"
        )
    model.load_state_dict(weights)
    model.to(memory_format=torch.channels_last).eval()
    return Trained(model, recipe, content["seed"], history)


def shipped(name: str = "plain") -> Trained:
    """A network that comes with this package; its name is that of its recipe.

    "lenet1998" is a `LeNet1998`, every other a `LeNet`.

    Raises FileNotFoundError, with the names there are, for any other.
    """
    names = sorted(path.stem for path in SHIPPED.glob("*.pt"))
    if name not in names:
        raise FileNotFoundError(f"no network {name!r} ships; there are: {', '.join(names)}")
    return restore(SHIPPED / f"{name}.pt", LeNet1998() if name == "lenet1998" else None)


def digest(content: dict) -> str:
    """The SHA-256 of all that `save` writes: names, dtypes, shapes and values."""
    hashed = hashlib.sha256()
    plain = [content[name] for name in ("recipe", "seed", "epochs")]
    hashed.update(json.dumps(plain, sort_keys=True).encode())
    for name, tensor in [*content["weights"].items(), ("losses", content["losses"])]:
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()
