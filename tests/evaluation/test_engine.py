"""Our attacks against pyautoattack: the same outcome on every example; their parts against other ways to get them."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_projections import projection_l2, projection_linf
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

import bench
from bench.data import load
from bench.evaluation.apgd import apgd, checkpoints, start_on_the_sphere
from bench.evaluation.engine import FastEngine
from bench.evaluation.fab import fab
from bench.evaluation.network import Network, make_network
from bench.evaluation.noise import Keyed, Stream, example_keys
from bench.evaluation.projection import onto_hyperplane
from bench.evaluation.square import last_same, side, square, two_bumps
from bench.evaluation.windows import Changes, Whole, Windowed, watch
from bench.losses import cross_entropy, dlr_targeted
from bench.networks.cnn import cnn
from bench.networks.mlp import mlp
from bench.networks.resnet import preactresnet18, resnet18
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat
from tests.evaluation import zoo
from tests.nets import adversarially_trained

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training examples: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs(), split.y


def seeded(build, *arguments, **options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(*arguments, **options)


class Trained(dict[str, nn.Module]):
    """Small networks by name, each trained when it is first asked for."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __missing__(self, name: str) -> nn.Module:
        build, steps = NETS[name]
        few = self.y < (3 if name == "three" else 10)
        self[name] = adversarially_trained(seeded(build), self.x[few], self.y[few], steps)
        return self[name]


NETS = {  # how each is built, and how many steps it is trained
    "cnn": (partial(cnn, (1, 8, 8), 10, widths=[8, 16], strides=[1, 2]), 150),
    "mlp": (partial(mlp, (1, 8, 8), 10), 150),
    "resnet": (partial(resnet18, (1, 8, 8), 10, width=4), 60),
    "preact": (partial(preactresnet18, (1, 8, 8), 10, width=4), 20),
    "three": (partial(cnn, (1, 8, 8), 3, widths=[8, 16], strides=[1, 2]), 80),
}


@pytest.fixture(scope="module")
def nets(digits) -> Trained:
    return Trained(*digits)


def compare(net: nn.Module, x: Tensor, y: Tensor, threat: Threat, seed: int, batch_size: int) -> np.ndarray:
    options = {"threat": threat, "seed": seed, "batch_size": batch_size, "diagnose": False}
    ours = bench.evaluate(net, x, y, randomness="compat", **options)
    theirs = bench.evaluate(net, x, y, engine="reference", **options)
    assert ours.outcomes.tolist() == theirs.outcomes.tolist()
    return ours.outcomes


# --- outcomes against pyautoattack ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "threat"), [("cnn", Linf(0.15)), ("mlp", L2(0.6))])
def test_every_outcome_is_that_of_pyautoattack(nets, digits, name: str, threat: Threat) -> None:
    x, y = digits[0][:16], digits[1][:16]
    assert len(set(compare(nets[name], x, y, threat, 0, 16).tolist())) >= 2, "there is something to compare"


@pytest.mark.slow
@pytest.mark.parametrize("threat", [Linf(0.13), L2(0.6)], ids=repr)
@pytest.mark.parametrize(
    ("name", "images", "seed", "batch_size"),
    [(name, 60, *setting) for name in ("cnn", "mlp") for setting in ((0, 64), (1, 33), (2, 23))]
    + [("resnet", 12, 1, 12)],  # ten times as slow
)
def test_every_outcome_is_that_of_pyautoattack_at_other_settings(
    nets, digits, name: str, images: int, threat: Threat, seed: int, batch_size: int
) -> None:
    compare(nets[name], digits[0][100 : 100 + images], digits[1][100 : 100 + images], threat, seed, batch_size)


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.9)], ids=repr)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_three_classes_each_attack_is_that_of_pyautoattack(nets, digits, threat: Threat, seed: int) -> None:
    """AutoAttack as a whole cannot run; its attacks can, with two targets and (for APGD) an untargeted loss."""
    net = nets["three"]
    x, y = digits[0][digits[1] < 3][:40], digits[1][digits[1] < 3][:40]
    right = net(x).argmax(1) == y
    x, y, network = x[right], y[right], make_network(net, x)
    shared = {"norm": threat.norm, "eps": threat.eps, "seed": seed, "device": "cpu"}

    def fooled(candidates: Tensor) -> list[bool]:
        return (net(candidates).argmax(1) != y).tolist()

    def stream() -> Stream:
        return Stream(torch.Generator().manual_seed(seed), len(x), CPU)

    with torch.random.fork_rng():
        theirs = APGDAttack(net, n_iter=100, loss="ce", **shared).perturb(x, y)
        ours = apgd(network, x, y, threat, cross_entropy, start_on_the_sphere(x, threat, stream()))
        assert fooled(ours.x_adv) == fooled(theirs) == ours.fooled.tolist()
        assert 0 < ours.fooled.sum() < len(x)
        attack = FABAttack_PT(net, n_iter=100, targeted=True, n_target_classes=2, **shared)
        left, found = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.bool)
        engine = FastEngine(net, threat, x, 3)
        for rank in engine.targets("fab-t"):
            left = (~found).nonzero().squeeze(1)
            found[left] |= fab(network, x[left], y[left], engine.target(x[left], rank), threat).fooled
        assert found.tolist() == fooled(attack.perturb(x, y))
        theirs = SquareAttack(net, n_queries=800, p_init=0.8, resc_schedule=False, **shared)
        if threat.norm == "Linf":  # in L2 the published first tiling raises on 8x8 images
            assert fooled(square(network, x, y, threat, stream(), queries=800).x_adv) == fooled(theirs.perturb(x, y))


@pytest.mark.parametrize("seed", [0, 1])
def test_square_in_l2_is_that_of_pyautoattack(seed: int) -> None:
    """On 16x16 images, where the published tiling does not run over the edge."""
    net = seeded(cnn, (2, 16, 16), 10, widths=[8, 8], strides=[2, 2]).eval().requires_grad_(False)
    x = torch.rand(12, 2, 16, 16, generator=torch.Generator().manual_seed(seed))
    y, threat = net(x).argmax(1), L2(0.35)
    with torch.random.fork_rng():
        attack = SquareAttack(net, norm="L2", eps=threat.eps, seed=seed, n_queries=300, p_init=0.8, resc_schedule=False)
        theirs = net(attack.perturb(x, y)).argmax(1) != y
    noise = Stream(torch.Generator().manual_seed(seed), len(x), CPU)
    ours = square(make_network(net, x), x, y, threat, noise, queries=300)
    assert ours.fooled.tolist() == theirs.tolist()
    assert 0 < ours.fooled.sum() < len(x)


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.1)], ids=repr)
def test_autopgd_moves_as_published(nets, digits, threat: Threat) -> None:
    """With a model nothing fools, the point of the highest targeted loss is bit for bit the published one."""
    x, y = digits[0][:10], digits[1][:10]
    net = nets["cnn"]
    right = net(x).argmax(1) == y
    x, y = x[right], y[right]
    attack = APGDAttack_targeted(net, n_iter=50, norm=threat.norm, eps=threat.eps, seed=0, device="cpu")
    attack.init_hyperparam(x)
    attack.y_target = net(x).sort(1).indices[:, -2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, acc, loss, _ = attack.attack_single_run(x, y)
    seen: list[Tensor] = []

    def objective(logits: Tensor, classes: Tensor) -> Tensor:
        seen.append(dlr_targeted(logits, classes).detach())
        return dlr_targeted(logits, classes)

    start = start_on_the_sphere(x, threat, Stream(torch.Generator().manual_seed(0), len(x), CPU))
    pair = torch.stack([y, attack.y_target], 1)
    found = apgd(Network(net), x, y, threat, objective, start, classes=pair, steps=50)
    assert found.fooled.tolist() == (acc == 0).tolist()
    assert bool(acc.all()), "no example leaves, so that all losses are there"
    assert torch.equal(torch.stack(seen).amax(0), loss)


def test_checkpoints_are_those_of_the_paper() -> None:
    """22% of the steps, then gaps of 19, 16, ... down to 6: p_0 = 0.22, gaps shrink by 0.03 (Section 3.2)."""
    assert sorted(checkpoints(100))[:5] == [22, 41, 57, 70, 80]
    assert sorted(checkpoints(100))[-2:] == [93, 99]


# --- parts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "published"), [("Linf", projection_linf), ("L2", projection_l2)])
@pytest.mark.parametrize("dimensions", [3, 64, 784])
def test_projection_is_the_published_one(norm: str, published, dimensions: int) -> None:
    generator = torch.Generator().manual_seed(dimensions)
    t = torch.rand(200, dimensions, generator=generator, dtype=torch.float64)
    w = torch.randn(200, dimensions, generator=generator, dtype=torch.float64)
    w[:, 0], t[::3, 1], t[1::3, 2] = 0.0, 0.0, 1.0
    b = (w * t).sum(1) + torch.randn(200, generator=generator, dtype=torch.float64) * dimensions**0.5 * 0.3
    ours, theirs = onto_hyperplane(t, w, b, norm), published(t, w.clone(), b.clone())
    reached = (((t + theirs) * w).sum(1) - b).abs() < 1e-6
    assert reached.double().mean() > 0.1
    length = (lambda d: d.abs().amax(1)) if norm == "Linf" else (lambda d: d.norm(dim=1))
    assert torch.allclose(length(ours), length(theirs.double()), atol=2e-6)
    assert torch.allclose((w * ours).sum(1), (w * theirs).sum(1).double(), atol=1e-5)
    assert bool(((t + ours > -1e-9) & (t + ours < 1 + 1e-9)).all())


def test_the_rewritten_network_is_the_network(nets, digits) -> None:
    x = digits[0][:32]
    for name in NETS:
        net = nets[name]
        network = make_network(net, x)
        assert network.fast is not net, name
        assert not any(isinstance(m, nn.BatchNorm2d) for m in network.fast.modules()) or name == "preact"
        for point in (x, torch.rand_like(x)):
            one, other = point.clone().requires_grad_(), point.clone().requires_grad_()
            logits, expected = network(one), net(other)
            assert torch.allclose(logits, expected, atol=1e-4)
            weights = torch.randn_like(logits)
            (gradient,) = torch.autograd.grad((logits * weights).sum(), one)
            (wanted,) = torch.autograd.grad((expected * weights).sum(), other)
            assert torch.allclose(gradient, wanted, atol=1e-3 * float(wanted.abs().max()))


class Shaky(nn.Module):
    """Traceable, and yet no function of its input."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.1 * torch.randn_like(x))


def test_what_cannot_be_rewritten_is_left_as_it_is(nets, digits) -> None:
    x, net = digits[0][:8], nets["cnn"]
    assert make_network(Shaky(net), x).fast.net is net
    hooked = seeded(cnn, (1, 8, 8), 10).eval()
    hooked[0].register_forward_hook(lambda module, inputs, output: output * 2)
    assert make_network(hooked, x).fast is hooked
    hiding = zoo.GradientKilling(net).eval()
    assert make_network(hiding, x).fast is hiding, "tracing must not undo what hides the gradient"
    strange = nn.Sequential(nn.Flatten(), nn.Softmax(1), nn.Linear(64, 10))
    assert make_network(strange, x).fast is strange


@pytest.mark.parametrize(
    "build",
    [
        lambda: cnn((2, 12, 10), 10, widths=[6, 8, 8], strides=[1, 2, 1]),
        lambda: resnet18((2, 12, 10), 10, width=4),
        lambda: preactresnet18((2, 12, 10), 10, width=4),
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 5, stride=2, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(3, 1, padding=1),
            nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.LazyLinear(10),
        ),
    ],
    ids=["cnn", "resnet", "preact", "pools"],
)
def test_windows_give_what_the_whole_gives(build) -> None:
    """Looks at random windows, of which some are accepted: the maps that are kept stay those of the images."""
    net = seeded(build)
    x = torch.rand(9, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    net(x)
    network = make_network(net.eval().requires_grad_(False), x)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        view, best = watch(network, x.clone()), x.clone()
        assert type(view) is Windowed
        for look in range(100):
            height, width = (int(torch.randint(1, 11, (1,), generator=generator)) if look % 3 else 1 for _ in range(2))
            index = torch.randint(len(best), (1 + 4 * look % 23,), generator=generator).sort().values
            top, left = (
                torch.randint(0, extent - side + 1, index.shape, generator=generator)
                for extent, side in ((12, height), (10, width))
            )
            changes = Changes(index, top, left, torch.rand(len(index), 2, height, width, generator=generator))
            changed = best[index]
            for image, row, column, patch in zip(changed, top.tolist(), left.tolist(), changes.patch, strict=True):
                image[:, row : row + height, column : column + width] = patch
            assert torch.equal(changes.onto(view.images), changed)
            assert torch.allclose(view.logits(changes), net(changed), atol=1e-4), look
            first = torch.ones_like(index, dtype=torch.bool)
            first[1:] = index[1:] != index[:-1]
            rows = (first & (torch.rand(len(index), generator=generator) < 0.5)).nonzero().squeeze(1)
            view.accept(changes, rows)
            best[index[rows]] = changed[rows]
            assert torch.equal(view.images, best)
            if look == 50:
                standing = torch.arange(len(best)) != 4
                view.keep(standing)
                best = best[standing]


def test_networks_without_windows_are_computed_in_whole(nets, digits) -> None:
    assert type(watch(make_network(nets["mlp"], digits[0][:8]), digits[0][:8])) is Whole


@pytest.mark.parametrize("size", [3, 5, 6, 7, 11])
def test_the_bumps_are_the_published_ones(size: int) -> None:
    attack = SquareAttack(lambda x: x, norm="L2", eps=1.0, device="cpu")
    attack.device = "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        turned = float(torch.rand([1])) > 0.5
        torch.manual_seed(0)
        published = attack.eta(size)
    assert torch.equal(two_bumps(size).t() if turned else two_bumps(size), published)


def test_the_squares_shrink_as_published() -> None:
    attack = SquareAttack(lambda x: x, norm="Linf", eps=1.0, n_queries=5000, resc_schedule=False, p_init=0.8)
    for query in range(0, 5000, 7):
        share = attack.p_selection(query)
        assert side(query, 28, 28) == max(round(math.sqrt(share * 28 * 28)), 1)


def test_a_refused_change_is_not_asked_again(nets, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again each time gives the same points, margins and moments; only more is asked."""
    x, y = digits[0][:24], digits[1][:24]
    network = make_network(nets["cnn"], x)

    def search():
        return square(network, x, y, Linf(0.15), Stream(torch.Generator().manual_seed(3), len(x), CPU), queries=2500)

    once = search()
    monkeypatch.setattr("bench.evaluation.square.last_same", lambda proposals: [-2 for _ in proposals])
    always = search()
    assert 0 < int(once.fooled.sum()) < len(x)
    for name in ("fooled", "x_adv", "margin", "iteration"):
        assert torch.equal(getattr(once, name), getattr(always, name)), name
    assert int(once.forwards[~once.fooled].max()) < 0.5 * int(always.forwards[~once.fooled].min())


def test_the_last_query_of_the_same_kind() -> None:
    a, b = (1, (0, 0), (1.0,)), (1, (0, 0), (-1.0,))
    assert last_same([a, b, a, a, b]) == [-2, -2, 0, 2, 1]


def test_looking_ahead_changes_nothing(nets, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query at a time and whole images give the same points, moments and counts as looks at many changes."""
    x, y = digits[0][24:40], digits[1][24:40]
    network = make_network(nets["cnn"], x)
    sizes: list[int] = []
    ask = Windowed.logits

    def counted(view: Windowed, changes: Changes) -> Tensor:
        sizes.append(len(changes))
        return ask(view, changes)

    def search():
        return square(network, x, y, Linf(0.15), Stream(torch.Generator().manual_seed(3), len(x), CPU), queries=1500)

    monkeypatch.setattr(Windowed, "logits", counted)
    many = search()
    assert max(sizes) > 3 * len(x)
    monkeypatch.setattr("bench.evaluation.square.watch", Whole)
    single = search()
    assert 0 < int(many.fooled.sum()) < len(x)
    for name in ("fooled", "x_adv", "iteration", "forwards"):
        assert torch.equal(getattr(many, name), getattr(single, name)), name


# --- random numbers ---------------------------------------------------------------------------------


def test_keyed_numbers_belong_to_the_example(digits) -> None:
    x, y = digits[0][:50], digits[1][:50]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    whole, shuffled = Keyed(3, example_keys(x, y), "a", 1), Keyed(3, example_keys(x[order], y[order]), "a", 1)
    assert torch.equal(whole.each(2, 7)[order], shuffled.each(2, 7))
    assert torch.equal(whole.normal(5)[order], shuffled.normal(5))
    assert torch.equal(whole.shared(9), shuffled.shared(9))
    half = Keyed(3, example_keys(x, y), "a", 1)
    half.keep(torch.arange(50) < 20)
    assert torch.equal(half.each(14), Keyed(3, example_keys(x, y), "a", 1).each(14)[:20])


def test_keyed_numbers_differ_by_seed_unit_example_and_draw(digits) -> None:
    keys = example_keys(*(tensor[:50] for tensor in digits))
    draws = [Keyed(seed, keys, *unit).each(20) for seed in (0, 1) for unit in (("a",), ("b",), ("a", 1))]
    again = Keyed(0, keys, "a")
    again.each(20)
    numbers = torch.cat([*draws, again.each(20)]).flatten()
    assert len(numbers.unique()) > 0.99 * len(numbers)


def test_keyed_numbers_look_random(digits) -> None:
    from scipy import stats

    noise = Keyed(0, example_keys(*digits), "a")
    uniform, normal = noise.each(400).numpy(), noise.normal(400).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform.flatten(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.flatten(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(uniform[:, 0], uniform[:, 1])[0, 1]) < 0.12
    assert abs(np.corrcoef(uniform[0], uniform[1])[0, 1]) < 0.2
    bits = (uniform * 2**24).astype(int)
    ones = [(bits >> k & 1).mean() for k in range(24)]
    assert np.allclose(ones, 0.5, atol=0.01)


def test_the_stream_is_the_global_one() -> None:
    stream = Stream(torch.Generator().manual_seed(5), 3, CPU)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert torch.equal(stream.each(2, 2), torch.rand(3, 2, 2))
        assert torch.equal(stream.normal(4, 4), torch.randn(3, 4, 4))
        assert torch.equal(stream.shared(3, 2), torch.stack([torch.rand(2) for _ in range(3)]))
