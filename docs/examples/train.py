"""Train on several processes, each with its share of every epoch; stop at any time and run again to go on.

torchrun --standalone --nproc-per-node=2 train.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import atdata

EPOCHS = 2


@atdata.packable
class Point:
    id: int
    position: NDArray[np.float32]
    inside: float


def make_data(folder: Path) -> None:
    """A thousand points, and whether each is in the unit circle."""
    rng = np.random.default_rng(0)
    points = (rng.uniform(-1.2, 1.2, 2).astype(np.float32) for _ in range(1000))
    samples = (Point(number, point, float(np.hypot(*point) < 1)) for number, point in enumerate(points))
    atdata.write_samples(samples, folder / "points-%03d.tar", maxcount=150)


def main() -> None:
    """One process of the run."""
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    if dist.get_rank() == 0 and not (folder / "points-000.tar").exists():
        make_data(folder)
    dist.barrier()

    dataset = atdata.Dataset[Point](str(folder / "points-*.tar"))
    # The rank and the world size come from torch.distributed; "pad" makes all ranks take the same number of steps.
    loader = dataset.loader(batch_size=32, shuffle="global", seed=1, equal_steps="pad")
    checkpoint = folder / "checkpoint.json"
    if checkpoint.exists():
        loader.load_state_dict(json.loads(checkpoint.read_text()))

    model = DistributedDataParallel(nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen = torch.zeros(EPOCHS, len(dataset))
    batches = DataLoader(loader, batch_size=None, num_workers=1)
    for epoch in range(loader.epoch, EPOCHS):  # each pass is the next epoch, or what is left of the one resumed
        for step, batch in enumerate(batches, 1):
            logits = model(torch.from_numpy(batch.position))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(batch.inside))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen[epoch, batch.id] += 1
            if dist.get_rank() == 0:
                # The same on every rank. Workers have read ahead, so the number of batches used must be said.
                checkpoint.write_text(json.dumps(loader.state_dict(batches=step)))

    dist.all_reduce(seen)
    if dist.get_rank() == 0:
        print(f"loss {loss.item():.3f}")
        print("samples seen in each epoch:", [f"{int((row > 0).sum())} of {len(dataset)}" for row in seen])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
