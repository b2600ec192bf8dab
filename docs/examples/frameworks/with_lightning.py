import lightning
import torch
from data import points
from torchdata.stateful_dataloader import StatefulDataLoader


class Circle(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))

    def training_step(self, batch, _):
        wanted = batch["inside"].float()
        return torch.nn.functional.binary_cross_entropy_with_logits(self.net(batch["position"])[:, 0], wanted)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


if __name__ == "__main__":
    loader = points().loader(64, shuffle="global", seed=1, equal_steps="pad", format="torch")
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(Circle(), StatefulDataLoader(loader, batch_size=None, num_workers=2))
    assert trainer.global_step == 2 * 16
