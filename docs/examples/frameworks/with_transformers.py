from data import points
from torch import nn
from transformers import Trainer, TrainingArguments

from atdata.integrations.transformers import LoaderTrainer


class Circle(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, position, inside):
        logits = self.line(position)[:, 0]
        return {"loss": nn.functional.binary_cross_entropy_with_logits(logits, inside.float()), "logits": logits}


class OwnTrainer(LoaderTrainer, Trainer):
    pass


if __name__ == "__main__":
    columns = points().columns("position", "inside")
    loader = columns.loader(64, shuffle="global", seed=1, equal_steps="pad", format="torch")
    arguments = TrainingArguments("run", use_cpu=True, report_to=[], save_strategy="no", num_train_epochs=2)
    trainer = OwnTrainer(Circle(), arguments, train_dataset=loader)
    assert trainer.train().global_step == 2 * 16
