"""Methods with a discriminator or a generator: what their formulas do not show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.hashing import tensor_digest
from bench.method import Batch, Nets, make_method
from bench.networks.discriminators import (
    Game,
    ImageDiscriminator,
    PatchDiscriminator,
    ProjectionDiscriminator,
    Spectral,
    SpectralConv2d,
    TapDiscriminators,
    pooled,
    power_iteration,
)
from bench.networks.generators import ImageGenerator, PerturbationGenerator
from bench.scenario import load_scenario
from bench.testing import Subject
from bench.threat import L2, Linf, Threat
from methods.gkd import GKD
from tests.methods.setting import CLASSES, EPS, EXAMPLES, SHAPE, Golden, Setting, harness, network

FAMILY = ("gkd-logit", "gkd-cond", "gkd-feat", "gkd-ensemble", "gkd-domain")


def setting(name: str, **fields: float) -> Setting:
    return Setting(make_method(name, fields), Golden(lambda facts: {}))


def slopes(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    """The gradient, weight by weight; None where the loss does not depend on one."""
    return list(torch.autograd.grad(loss.sum(), list(module.parameters()), retain_graph=True, allow_unused=True))


# --- what the gkd family shares ---------------------------------------------------------------------


def test_what_is_told_of_a_game_written_down_by_hand() -> None:
    """Slopes: 3 in the first tensor from the rest; 4 in the second and 0 in the first from the term."""
    first, second = torch.ones(2, 1, requires_grad=True), torch.ones(2, 1, requires_grad=True)
    game = Game(
        real=torch.tensor([[2.0], [0.1], [0.0], [-3.0]]),
        fake=torch.tensor([[-1.0], [-0.2], [-5.0], [0.4]]),
        adversarial=(4 * second).squeeze(1),
        rest=(3 * first + 0 * second).squeeze(1),
        read=[first, second],
    )
    found = game.metrics()
    assert found.pop("gan_share") == pytest.approx(4 / 7)
    assert found == {"discriminator_real": 0.5, "discriminator_fake": 0.75}
    assert game._replace(adversarial=None).metrics()["gan_share"] == 0
    flat = (0 * first).squeeze(1)
    assert game._replace(adversarial=flat, rest=flat).metrics()["gan_share"] == 0


@pytest.mark.parametrize(
    ("name", "share"),
    [*((name, 0.1) for name in FAMILY), ("anc", 0.5), ("akd-gan", 0.5), ("kdgan", 0.5)],
)
def test_metrics_of_a_training_are_fractions_and_move_nothing(name: str, share: float) -> None:
    trainer = Subject(name, {}, load_scenario("digits-linf")).trainer()
    trainer.step()
    if name in FAMILY:
        assert trainer.metrics()["gan_share"] == 0, "at the first step the term has no weight"
    trainer.step()
    kept = {f"{name}/{k}": v for name, net in trainer.nets.networks.items() for k, v in net.module.state_dict().items()}
    before, spent = tensor_digest(kept), trainer.meter.state()
    found = trainer.metrics()
    assert set(found) == {"discriminator_real", "discriminator_fake", "gan_share"}
    assert all(0 <= value <= 1 for value in found.values())
    assert 0 < found["gan_share"] < share
    assert (tensor_digest(kept), trainer.meter.state()) == (before, spent)


@pytest.mark.parametrize(("name", "networks"), [("anc", ["student"]), ("akd-gan", ["student", "generator"])])
def test_with_weight_zero_there_is_no_discriminator(name: str, networks: list[str]) -> None:
    off = setting(name, gan_weight=0)
    losses = off.losses()
    assert list(losses) == networks
    assert off.method.metrics(off.nets, off.batch) == {}
    off.method.after_step(off.nets, off.batch, {})
    if name == "anc":
        error = (off.nets.teacher(off.x) - off.nets.student(off.x)).square().mean(1)
        assert torch.equal(losses["student"], error)


def test_with_all_adversarial_weight_on_its_tutor_the_student_of_kdgan_plays_no_game() -> None:
    off = setting("kdgan", alpha=1)
    off.losses()
    assert off.method.metrics(off.nets, off.batch)["gan_share"] == 0


@pytest.mark.parametrize("name", FAMILY)
def test_with_weight_zero_it_is_rslad_without_a_discriminator(name: str) -> None:
    off, plain = setting(name, gan_weight=0), setting("rslad")
    assert "discriminator" not in off.nets.networks
    if name != "gkd-ensemble":  # whose natural teacher changes the seed of the robust one in this setting
        assert torch.equal(off.losses()["student"], plain.losses()["student"])
    assert list(off.losses()) == ["student"]
    assert off.method.metrics(off.nets, off.batch) == {}
    off.method.after_step(off.nets, off.batch, {})


@pytest.mark.parametrize("name", FAMILY)
def test_the_student_works_against_the_discriminator(name: str) -> None:
    """Each raises what the other lowers, and neither's loss trains the other."""
    subject = setting(name)
    losses = subject.losses()
    student, judge = subject.nets.student.module, subject.nets.discriminator.module
    assert all(slope is None for slope in slopes(losses["discriminator"], student))
    method = subject.method
    assert isinstance(method, GKD)
    real, fake = method.samples(subject.nets, subject.batch)
    scores = [method.scores(subject.nets, subject.batch, inputs) for inputs in (real, fake)]
    told_apart = (1 - scores[0]).relu() + (1 + scores[1]).relu()  # with the graph of the student
    assert told_apart.max() < 2 * 2 and scores[0].abs().max() < 1 and scores[1].abs().max() < 1, "no hinge is flat"
    ours, theirs = slopes(subject.batch.game.adversarial, student), slopes(told_apart.mean(1), student)
    for mine, other in zip(ours, theirs, strict=True):
        if mine is not None and other is not None:
            torch.testing.assert_close(mine, -0.1 * other, rtol=1e-7, atol=1e-12)
    assert any(mine is not None and mine.abs().max() > 0 for mine in ours)
    assert any(slope is not None for slope in slopes(losses["discriminator"], judge))


@pytest.mark.parametrize("name", FAMILY)
def test_the_estimates_of_the_singular_values_move_after_a_step_only(name: str) -> None:
    subject = setting(name)
    layers = [layer for layer in subject.nets.discriminator.module.modules() if isinstance(layer, Spectral)]
    before = [layer.u.clone() for layer in layers]
    subject.losses()
    assert all(torch.equal(layer.u, u) for layer, u in zip(layers, before, strict=True))
    subject.method.after_step(subject.nets, subject.batch, {})
    assert any(not torch.equal(layer.u, u) for layer, u in zip(layers, before, strict=True))


def test_the_ensemble_takes_real_outputs_from_both_teachers() -> None:
    subject = setting("gkd-ensemble")
    subject.losses()
    real, _ = subject.method.samples(subject.nets, subject.batch)  # type: ignore[attr-defined]
    tap = {role: (subject.nets.networks[role](subject.x) / 4).log_softmax(1) for role in ("teacher", "natural_teacher")}
    of_robust = (real[:, :CLASSES] - tap["teacher"]).abs().amax(1) < 1e-12
    of_natural = (real[:, :CLASSES] - tap["natural_teacher"]).abs().amax(1) < 1e-12
    assert (of_robust ^ of_natural).all()
    assert of_robust.any() and of_natural.any()


# --- discriminators ---------------------------------------------------------------------------------


def normalised(layer: Spectral) -> Tensor:
    """The weight over its largest singular value, as a matrix."""
    matrix = layer.weight.detach().flatten(1)
    return matrix / torch.linalg.svdvals(matrix)[0]


def settled(module: nn.Module) -> nn.Module:
    module.double()
    for _ in range(2000):
        power_iteration(module)
    return module


def leaky(h: Tensor) -> Tensor:
    return torch.where(h > 0, h, 0.2 * h)


def test_a_projection_discriminator_scores_every_label_by_the_formula() -> None:
    torch.manual_seed(0)
    judge = settled(ProjectionDiscriminator(6, 4, 8))
    assert isinstance(judge, ProjectionDiscriminator)
    first, second = (layer for layer in judge.phi if isinstance(layer, Spectral))
    u = torch.randn(5, 6).double()
    phi = leaky(leaky(u @ normalised(first).T + first.bias) @ normalised(second).T + second.bias)
    psi = (phi @ normalised(judge.psi).T + judge.psi.bias).squeeze(1)
    for y, e in enumerate(normalised(judge.labels)):
        torch.testing.assert_close(judge(u)[:, y], psi + phi @ e, rtol=1e-6, atol=1e-9)


def test_a_spectral_convolution_has_a_kernel_of_norm_one() -> None:
    torch.manual_seed(0)
    layer = settled(SpectralConv2d(3, 5, 3, stride=2))
    assert isinstance(layer, SpectralConv2d)
    x = torch.randn(2, 3, 8, 8).double()
    kernel = normalised(layer).view(layer.weight.shape)
    expected = torch.nn.functional.conv2d(x, kernel, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-6, atol=1e-9)
    assert layer(x).shape == (2, 5, 4, 4)


def test_patches_are_judged_one_by_one_whatever_the_size_of_the_map() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(5, 8).double()
    x = torch.randn(3, 5, 4, 4).double()
    assert judge(x).shape == (3, 4)
    torch.testing.assert_close(judge(x), judge(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    assert judge(x.mean((2, 3), keepdim=True)).shape == (3, 4)


def test_each_tap_has_its_own_discriminator() -> None:
    torch.manual_seed(0)
    judge = TapDiscriminators([2, 3], 8)
    x = torch.randn(4, 5)
    moved = x.clone()
    moved[:, 2:] += 1
    assert torch.equal(judge(moved)[:, 0], judge(x)[:, 0])
    assert not torch.isclose(judge(moved)[:, 1], judge(x)[:, 1]).any()


def test_an_image_discriminator_scores_patches_of_four_by_four() -> None:
    assert ImageDiscriminator(3, 4)(torch.rand(2, 3, 16, 8)).shape == (2, 4 * 2)


def test_features_are_pooled_over_the_map_and_neighbouring_channels() -> None:
    maps = torch.tensor([1.0, 3.0, 5.0, 9.0]).view(1, 4, 1, 1) + torch.tensor([[-1.0, 1.0], [2.0, -2.0]])
    assert pooled(maps, 4).tolist() == [[1.0, 3.0, 5.0, 9.0]]
    assert pooled(maps, 2).tolist() == [[2.0, 7.0]]


# --- generators -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 2.0)])
def test_generated_images_fill_the_bounds_and_keep_them(bounds: tuple[float, float]) -> None:
    torch.manual_seed(0)
    generator = ImageGenerator(6, (2, 12, 8), bounds, width=8)
    with torch.no_grad():
        generator.layers[-2].weight.mul_(100)  # type: ignore[operator, union-attr]
        images = generator(100 * torch.randn(64, 6))
    assert images.shape == (64, 2, 12, 8)
    assert (images.min().item(), images.max().item()) == pytest.approx(bounds, abs=1e-3)
    assert images.min() >= bounds[0] and images.max() <= bounds[1]


def test_a_generator_refuses_sides_that_it_cannot_make() -> None:
    with pytest.raises(TemperError, match="divisible by 4, not 8 x 6"):
        ImageGenerator(6, (1, 8, 6), (0.0, 1.0))


def test_an_image_of_a_generator_depends_on_its_own_input_only() -> None:
    torch.manual_seed(0)
    for generator, x in (
        (ImageGenerator(6, (1, 8, 8), (0.0, 1.0), 8), torch.randn(5, 6)),
        (PerturbationGenerator(2, 8), torch.rand(5, 2, 8, 8)),
    ):
        torch.testing.assert_close(generator(x)[2:3], generator(x[2:3]))


@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.3)], ids=["Linf", "L2"])
def test_what_a_generator_does_to_the_inputs_stays_in_the_ball(threat: Threat) -> None:
    method = make_method("akd-gan")
    nets = Nets({}, SHAPE, CLASSES, threat, harness(lambda: network(7)))
    for name in ("student", "teacher"):
        nets.add(name, network(1), frozen=name == "teacher")
    method.setup(nets)
    for net in nets.networks.values():
        net.module.double()
    with torch.no_grad():
        nets.generator.module[-2].weight.mul_(50)  # so that tanh saturates
    x = torch.rand(EXAMPLES, *SHAPE).double()
    batch = Batch(x=x, y=torch.arange(EXAMPLES) % CLASSES, index=torch.arange(EXAMPLES), progress=0.4)
    batch.x_adv = threat.project(x, method.attack(nets, batch).detach())  # type: ignore[union-attr]
    assert threat.contains(x, batch.x_adv).all()
    distance = threat.distance(x, batch.x_adv)
    assert distance.max() > 0.9 * threat.eps
    seen: list[Tensor] = []
    nets.teacher.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.loss(nets, batch)
    (moved,) = (inputs for inputs in seen if inputs.requires_grad)
    torch.testing.assert_close(moved.detach(), batch.x_adv)


# --- method by method -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["x", "y"])
def test_data_free_losses_do_not_depend_on_the_data(change: str) -> None:
    plain, other = setting("dfad-r", width=8), setting("dfad-r", width=8)
    if change == "x":
        other.batch.x = 1 - other.batch.x
    else:
        other.batch.y = other.batch.y.flip(0)
    expected, found = plain.losses(), other.losses()
    assert torch.equal(plain.batch.x, other.batch.x)
    for name in ("student", "generator"):
        assert torch.equal(found[name], expected[name])


def test_data_free_training_is_on_generated_inputs() -> None:
    trainer = Subject("dfad-r", {"width": 8}, load_scenario("digits-linf")).trainer()
    batch = trainer.batch()
    assert not batch.x.any() and not batch.y.any()
    batch.x_adv = trainer.perturb(batch)
    assert torch.equal(batch.x, trainer.nets.generator(batch.latent))
    assert trainer.scenario.threat.contains(batch.x, batch.x_adv).all()
    assert (batch.x_adv - batch.x).abs().max() > 0.1


def test_the_tutor_is_a_copy_of_the_teacher_that_trains_and_is_charged_on_its_own() -> None:
    teacher, calls = network(2, (6, 8)), []
    nets = Nets({}, SHAPE, CLASSES, Linf(EPS), harness(lambda: network(7)))
    nets.add("student", network(1))
    nets.add("teacher", teacher, frozen=True)
    teacher.register_forward_hook(lambda *_: calls.append(1))
    make_method("kdgan").setup(nets)
    tutor = nets.tutor.module
    x = torch.rand(3, *SHAPE).double()
    assert torch.equal(tutor.eval()(x), teacher(x))
    assert len(calls) == 1, "the call of the teacher itself"
    assert all(p.requires_grad for p in tutor.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in nets.optimisers.items()}
    assert rates == {"tutor": 5e-4, "discriminator": 1e-3}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("gkd-feat", {"discriminator": 2e-4}),
        ("anc", {"discriminator": 2e-4}),
        ("akd-gan", {"generator": 2e-4, "discriminator": 2e-4}),
        ("dfad-r", {"generator": 2e-4}),
    ],
)
def test_every_side_of_the_game_has_its_optimiser(name: str, rates: dict[str, float]) -> None:
    optimisers = setting(name).nets.optimisers
    assert {name: optimiser.param_groups[0]["lr"] for name, optimiser in optimisers.items()} == rates
    assert all(isinstance(optimiser, torch.optim.Adam) for optimiser in optimisers.values())


def test_labels_are_not_used_where_the_method_claims_so() -> None:
    for name in ("anc", "dfad-r"):
        plain, other = setting(name), setting(name)
        other.batch.y = (other.batch.y + 1) % CLASSES
        found, expected = other.losses(), plain.losses()
        assert all(torch.equal(found[network], loss) for network, loss in expected.items())
