"""How a network learns: device, recipes, the training loop, and what is kept of it in a file."""

import io
import math
import os
import pickle
from collections.abc import Callable
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

from .data import Digits, to_input, write_whole
from .evaluation import accuracy, predict
from .models import LeNet

PRETRAINED = Path(__file__).with_name("weights") / "lenet.pt"  # recorded by tools/pretrain.py


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
    # Of the network that comes with this package.
    "shipped": Recipe(epochs=3, learning_rate=6e-3, schedule="one_cycle", label_smoothing=0.05),
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


def device() -> torch.device:
    """Where to compute: $LENET_DEVICE ("cpu", "cuda", …), else an accelerator, else the CPU."""
    if name := os.environ.get("LENET_DEVICE"):
        return torch.device(name)
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def fit(
    model: nn.Module,
    train: Digits,
    recipe: Recipe,
    *,
    validation: Digits | None = None,
    history: History | None = None,
    seed: int = 0,
    transform: Callable[[Tensor], Tensor] = to_input,
    after_step: Callable[[nn.Module], None] | None = None,
    progress: bool = True,
) -> History:
    """Train the model in place, on `device()`, and return what happened.

    validation  digits to judge the model by after each epoch
    history     a History to write into; whoever holds it still has it after an interrupt
    seed        decides the order of the images, and whatever else is drawn while training
    transform   images uint8 (B, 1, 32, 32) → inputs float32 of the same shape
    after_step  called with the model after each step
    progress    whether to draw a bar

    "train_loss" and "train_accuracy" of an epoch are taken while the weights change, the validation
    figures after it. Raises ValueError for a recipe made for the other kind of network, and
    FloatingPointError, before the step, for a loss that is infinite or not a number. An interrupt
    (KeyboardInterrupt) passes through; model and history are then as far as they got.
    """
    if recipe.softmax != getattr(model, "softmax", False):
        raise ValueError(f"expected LeNet(softmax={recipe.softmax}), which this recipe is for")
    history = History() if history is None else history
    torch.manual_seed(seed)
    where = device()
    model.to(where, memory_format=torch.channels_last)
    loader = DataLoader(TensorDataset(*train), batch_size=recipe.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=recipe.learning_rate, betas=recipe.betas, fused=True
    )
    steps = recipe.epochs * len(loader)
    schedule = make_schedule(optimizer, recipe, steps)
    with tqdm(total=steps, unit="step", disable=not progress) as bar:
        for _ in range(recipe.epochs):
            model.train()
            loss_sum, correct, size = 0.0, 0, len(train.labels)
            for images, labels in loader:
                inputs, labels = transform(images.to(where)), labels.to(where)
                outputs = model(inputs)
                loss = F.cross_entropy(outputs, labels, label_smoothing=recipe.label_smoothing)
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f"loss {loss.item()}: lower {recipe.learning_rate = }")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                history.losses.append(loss.item())
                if after_step is not None:
                    after_step(model)
                loss_sum += loss.item() * len(labels)
                correct += (outputs.argmax(1) == labels).sum().item()
                bar.update()
            row = {"train_loss": loss_sum / size, "train_accuracy": correct / size}
            if validation is not None:
                outputs = predict(model, validation.images)
                row["validation_loss"] = F.cross_entropy(outputs, validation.labels).item()
                row["validation_accuracy"] = accuracy(outputs.argmax(1), validation.labels)
            history.epochs.append(row)
            bar.set_postfix(row)
    return history


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The recipe's learning rate, step by step, as a scheduler of torch.

    One cycle: L. N. Smith, N. Topin, "Super-convergence", 2018. Raises ValueError for a schedule
    that is neither "constant" nor "one_cycle".
    """
    if recipe.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    if recipe.schedule == "one_cycle":
        return OneCycleLR(
            optimizer,
            max_lr=recipe.learning_rate,
            total_steps=steps,
            pct_start=0.2,
            anneal_strategy="linear",
            cycle_momentum=False,
        )
    raise ValueError(f'schedule must be "constant" or "one_cycle", got {recipe.schedule!r}')


class Trained(NamedTuple):
    """A trained network, and how it came about."""

    model: LeNet
    recipe: Recipe
    seed: int
    history: History


def save(trained: Trained, path: str | Path) -> None:
    """Write a trained network to a file, whole or not at all."""
    content = {
        "weights": {name: tensor.cpu() for name, tensor in trained.model.state_dict().items()},
        "recipe": asdict(trained.recipe),
        "seed": trained.seed,
        "losses": torch.tensor(trained.history.losses),
        "epochs": trained.history.epochs,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(Path(path), buffer.getvalue())


def load(path: str | Path = PRETRAINED) -> Trained:
    """Read a file that `save` wrote; without a path, the network that ships with this package.

    Executes nothing that the file may contain. Raises FileNotFoundError, or ValueError for a file
    that is damaged, is something else, or holds weights of another network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        recipe = Recipe(**content["recipe"])
        model = LeNet(softmax=recipe.softmax).to(memory_format=torch.channels_last)
        model.load_state_dict(content["weights"])
        history = History(content["losses"].tolist(), content["epochs"])
        return Trained(model.eval(), recipe, content["seed"], history)
    except (RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged, or is not a LeNet written by training.save: save it again"
        ) from error
