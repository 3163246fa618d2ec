"""Training of a small network on random numbers."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cloudkit.processes import Processes
from trainkit.training.precision import MixedPrecision, Precision
from trainkit.training.trainer import Trainer

CPU = torch.device("cpu")


def trainer(
    *, ema: float = 0.0, device: torch.device = CPU, precision: Precision = "fp32"
) -> Trainer[nn.Module]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)).to(device)
    made: Trainer[nn.Module] = Trainer(
        "scpm",
        model,
        {},
        precision=MixedPrecision(precision, device),
        ema=ema,
        processes=Processes(0, 1, device),
        options={"lr": 1.0},
    )
    made.begin_phase(adam(made))
    return made


def adam(trainer: Trainer[nn.Module], *, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.Adam(trainer.model.parameters(), lr=lr)


class Batches(Dataset[Tensor]):
    """Endless random batches, each the same for the same step."""

    def __getitem__(self, step: int) -> Tensor:
        return torch.rand(16, 4, generator=torch.Generator().manual_seed(step))


def loader(first: int, count: int) -> DataLoader[Tensor]:
    steps, random = range(first, first + count), torch.Generator()
    return DataLoader(Batches(), sampler=steps, batch_size=None, generator=random)


def compute_losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    batch = batch.to(next(model.parameters()).device)
    pixel = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
    return {"loss": 2 * pixel, "pixel": pixel}


def train(trainer: Trainer[nn.Module], first: int, count: int) -> dict[str, float]:
    return trainer.train_steps(
        loader(first, count), compute_losses, lambda step: 0.1 / (1 + step), first=first, title=""
    )
