import torch
from accelerate import Accelerator
from data import points

from atdata.integrations.accelerate import prepare

accelerator = Accelerator(cpu=True)
loader = points().loader(64, shuffle="global", seed=1, equal_steps="pad", format="torch")
batches = prepare(accelerator.device, loader)
model = torch.nn.Linear(2, 1)
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
for epoch in range(2):
    batches.set_epoch(epoch)
    for batch in batches:
        optimizer.zero_grad()
        accelerator.backward((model(batch["position"])[:, 0] - batch["inside"].float()).pow(2).mean())
        optimizer.step()
batches.set_epoch(1)
rest = accelerator.skip_first_batches(batches, 10)
assert sum(len(batch["id"]) for batch in rest) == 6 * 64
