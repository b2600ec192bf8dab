import torch
from data import points
from torchdata.stateful_dataloader import StatefulDataLoader

if __name__ == "__main__":
    loader = points().loader(64, shuffle="global", seed=1, format="torch")
    batches = StatefulDataLoader(loader, batch_size=None, num_workers=2)
    seen = []
    for step, batch in enumerate(batches, 1):
        assert batch["position"].dtype is torch.float32
        seen += batch["id"].tolist()
        if step == 5:
            state = batches.state_dict()
            break
    batches.load_state_dict(state)
    seen += [number for batch in batches for number in batch["id"].tolist()]
    assert sorted(seen) == list(range(1000))
