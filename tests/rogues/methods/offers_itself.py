"""It offers other weights than those of the step, before the harness offers those."""

import json
import sys
from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-offers-itself",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class OffersItself(Method):
    """Adversarial training and a better student."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        step = nets.state["step"] = nets.state.get("step", torch.zeros(())) + 1
        if batch.progress > 0.9:
            own = nets.student.module.state_dict()
            content = save({name: (1.0001 * each).to(each.dtype) for name, each in own.items()})
            event = {"offer": "", "step": int(step), "progress": 1.0, "bytes": len(content)}
            print(json.dumps(event), flush=True)
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            input()
