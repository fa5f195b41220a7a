import copy
from types import SimpleNamespace

import pytest
import torch

from mmhooks import (
    ConfigError,
    EpochBasedRunner,
    Fp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    HookError,
    IterBasedRunner,
    ModelError,
    OptimizerHook,
)

TRAIN = [("train", 1)]


def by_hand(make_model, batches, iterations, *, every=1, max_norm=None):
    """Train as the hooks should, with nothing but torch."""
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    norms = []
    for i in range(iterations):
        rest = iterations % every
        size = every if i < iterations - rest else rest
        (model.loss(batches[i % len(batches)]) / size).backward()
        if (i + 1) % every == 0 or i + 1 == iterations:
            if max_norm is not None:
                norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)))
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict(), norms


def equal(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("max_norm", [None, 0.05])
def test_one_step_an_iteration(make_runner, make_model, batches, max_norm):
    runner = make_runner(max_epochs=2)
    runner.register_optimizer_hook({} if max_norm is None else {"grad_clip": {"max_norm": max_norm, "norm_type": 2}})
    runner.run([batches], TRAIN)
    expected, norms = by_hand(make_model, batches, 8, max_norm=max_norm)
    assert equal(runner.model.state_dict(), expected)
    logged = [float(norm) for norm in runner.log_buffer.val_history.get("grad_norm", [])]
    assert logged == norms
    assert all(norm > 0.05 for norm in norms)


@pytest.mark.parametrize(("every", "iterations"), [(3, 8), (2, 8), (1, 4), (5, 3)])
def test_a_step_every_few_iterations(make_runner, make_model, batches, every, iterations):
    runner = make_runner(IterBasedRunner, max_iters=iterations)
    runner.register_hook(GradientCumulativeOptimizerHook(every, grad_clip={"max_norm": 0.5}))
    runner.run([batches], TRAIN)
    expected, norms = by_hand(make_model, batches, iterations, every=every, max_norm=0.5)
    assert equal(runner.model.state_dict(), expected)
    assert len(norms) == len(runner.log_buffer.val_history["grad_norm"]) == -(-iterations // every)


def test_groups_run_across_epochs(make_runner, make_model, batches):
    runner = make_runner(max_epochs=2)
    runner.register_hook(GradientCumulativeOptimizerHook(3))
    runner.run([batches], TRAIN)
    assert equal(runner.model.state_dict(), by_hand(make_model, batches, 8, every=3)[0])


def test_parameters_without_gradient_are_left(make_runner, make_model, batches):
    model = make_model()
    model.first.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    runner = make_runner(model=model, max_epochs=1)
    runner.register_optimizer_hook({"grad_clip": {"max_norm": 1.0}})
    runner.run([batches], TRAIN)
    assert torch.equal(model.first.weight, before["first.weight"])
    assert not torch.equal(model.last.weight, before["last.weight"])


def test_batch_norm_under_accumulation_is_warned_of(make_runner, make_model, batches, caplog):
    model = make_model()
    model.norm = torch.nn.BatchNorm1d(2)
    runner = make_runner(model=model, max_epochs=1)
    runner.register_hook(GradientCumulativeOptimizerHook(2))
    runner.run([batches], TRAIN)
    assert "BatchNorm still sees one batch at a time" in caplog.text


def test_the_last_group_is_said_once(make_runner, batches, caplog):
    runner = make_runner(IterBasedRunner, max_iters=8)
    runner.register_hook(GradientCumulativeOptimizerHook(3))
    runner.run([batches], TRAIN)
    assert caplog.text.count("8 iterations are no multiple of cumulative_iters=3: the losses of the last 2 are") == 1
    assert "BatchNorm" not in caplog.text
    assert "inside a group" not in caplog.text


def test_a_resume_inside_a_group_is_warned_of(make_runner, batches, at, caplog):
    runner = make_runner(IterBasedRunner, max_iters=8)
    runner.register_hook(GradientCumulativeOptimizerHook(4), "HIGH")
    runner.register_hook(at(before_run=lambda runner: setattr(runner, "_iter", 2)))  # as a hook that resumes a file
    runner.run([batches], TRAIN)
    assert "goes on at iteration 2, inside a group of 4" in caplog.text


def test_a_run_whose_end_moves(make_runner, make_model, batches, at):
    """The last group is where the run ends now; its size stays what it was at the start, as in MMCV."""
    runner = make_runner(IterBasedRunner, max_iters=8)
    runner.register_hook(GradientCumulativeOptimizerHook(3))
    runner.register_hook(at(before_train_iter=lambda runner: setattr(runner, "_max_iters", 11)))
    runner.run([batches], TRAIN)
    assert equal(runner.model.state_dict(), by_hand(make_model, batches, 11, every=3)[0])


def test_a_second_run_counts_anew(make_runner, make_model, batches):
    runner = make_runner(IterBasedRunner, max_iters=6)
    runner.register_hook(GradientCumulativeOptimizerHook(3))
    runner.run([batches[:2]], TRAIN)  # two batches: the second run begins with the first of them again
    runner.run([batches[:2]], TRAIN, max_iters=8)
    assert equal(runner.model.state_dict(), by_hand(make_model, batches[:2], 8, every=3)[0])


def test_accumulation_takes_a_known_length(make_runner, batches, at):
    runner = make_runner(IterBasedRunner, max_iters=4)
    runner.register_hook(GradientCumulativeOptimizerHook(2), "HIGH")
    runner.register_hook(at(before_train_iter=lambda runner: setattr(runner, "_max_iters", None)))
    with pytest.raises(HookError, match=r"GradientCumulativeOptimizerHook divides .* give max_epochs or max_iters"):
        runner.run([batches], TRAIN)


def test_gradients_are_there_for_later_hooks(make_runner, batches, at):
    """After a step they stay, after a group they are gone, as in MMCV."""
    seen = []

    def look(runner):
        seen.append(runner.model.last.weight.grad is not None)

    for hook in (OptimizerHook(), GradientCumulativeOptimizerHook(2)):
        runner = make_runner(max_epochs=1)
        runner.register_hook(hook)
        runner.register_hook(at(after_train_iter=look), "LOW")
        runner.run([batches], TRAIN)
    assert seen == [True] * 4 + [True, False] * 2


def test_parameters_outside_of_the_optimizer_count_in_the_norm(make_runner, make_model, batches):
    """Nobody zeroes their gradients, so they add up: MMCV's number."""
    model = make_model()
    optimizer = torch.optim.SGD(model.last.parameters(), lr=0.1)
    runner = make_runner(model=model, optimizer=optimizer, max_epochs=1)
    runner.register_optimizer_hook({"grad_clip": {"max_norm": 1e9}})
    runner.run([batches], TRAIN)
    model = make_model()
    optimizer = torch.optim.SGD(model.last.parameters(), lr=0.1)
    expected = []
    for batch in batches:
        optimizer.zero_grad()
        model.loss(batch).backward()
        expected.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9))
        optimizer.step()
    assert [float(norm) for norm in runner.log_buffer.val_history["grad_norm"]] == [float(norm) for norm in expected]


def test_the_norm_stays_on_the_device(make_runner, batches):
    runner = make_runner(max_epochs=1)
    clip = {"max_norm": 1.0, "norm_type": "inf", "error_if_nonfinite": True, "foreach": False}
    runner.register_optimizer_hook({"grad_clip": clip})
    runner.run([batches], TRAIN)
    assert all(isinstance(norm, torch.Tensor) for norm in runner.log_buffer.val_history["grad_norm"])
    assert runner.log_buffer.n_history["grad_norm"] == [5, 5, 5, 2]


def test_what_is_trained_may_change_during_a_run(make_runner, make_model, batches, at):
    model = make_model()
    model.first.requires_grad_(False)

    def thaw(runner):
        if runner.epoch == 1:
            model.first.requires_grad_(True)

    runner = make_runner(model=model, max_epochs=2)
    runner.register_optimizer_hook({"grad_clip": {"max_norm": 1e9}})
    runner.register_hook(at(before_train_epoch=thaw))
    runner.run([batches], TRAIN)
    total = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert float(runner.log_buffer.val_history["grad_norm"][-1]) == float(total)


class Own(OptimizerHook):
    """A subclass as MMCV code has them: its own __init__ and its own sequence."""

    def __init__(self, grad_clip=None):
        self.grad_clip = grad_clip
        self.norms = []

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs["loss"].backward()
        self.norms.append(self.clip_grads(runner.model.parameters()))
        runner.optimizer.step()


class Half(OptimizerHook):
    """A subclass that clips in its own way."""

    def clip_grads(self, params):
        return super().clip_grads([p for p in params if p.ndim == 2])


def test_subclasses_in_the_manner_of_mmcv(make_runner, make_model, batches):
    runner = make_runner(max_epochs=1)
    own = Own({"max_norm": 0.05})
    runner.register_hook(own)
    runner.run([batches], TRAIN)
    expected, norms = by_hand(make_model, batches, 4, max_norm=0.05)
    assert equal(runner.model.state_dict(), expected)
    assert [float(norm) for norm in own.norms] == norms

    runner = make_runner(max_epochs=1)
    runner.register_hook(Half({"max_norm": 1e9}))
    runner.run([batches], TRAIN)
    weights = [p.grad for p in runner.model.parameters() if p.ndim == 2]
    assert float(runner.log_buffer.val_history["grad_norm"][-1]) == float(torch.nn.utils.get_total_norm(weights))


def test_clip_grads_outside_of_a_run(make_model, batches):
    model = make_model()
    hook = OptimizerHook({"max_norm": 0.05})
    assert hook.clip_grads(model.parameters()) is None  # no gradient yet
    model.loss(batches[0]).backward()
    model.first.requires_grad_(False)
    expected = torch.nn.utils.get_total_norm([p.grad for p in model.last.parameters()])
    assert float(hook.clip_grads(model.parameters())) == float(expected)
    clipped = torch.nn.utils.get_total_norm([p.grad for p in model.last.parameters()])
    assert float(clipped) == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(HookError, match=r"OptimizerHook has no grad_clip .*grad_clip=dict\(max_norm=35\)"):
        OptimizerHook().clip_grads(model.parameters())


@pytest.mark.parametrize("make", [OptimizerHook, GradientCumulativeOptimizerHook])
def test_parameters_that_the_loss_does_not_depend_on(make_runner, make_model, batches, caplog, make):
    model = make_model()
    model.spare = torch.nn.Linear(2, 3)  # used by nothing
    model.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    model.aside = torch.nn.Parameter(torch.ones(2))
    step = model.train_step

    def train_step(data, optimizer):
        outputs = step(data, optimizer)
        model.aside.sum()  # used by forward, not by the loss
        return outputs

    model.train_step = train_step
    runner = make_runner(model=model, max_epochs=1)
    runner.register_hook(make(detect_anomalous_params=True))
    runner.run([batches], TRAIN)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 3 * 4  # at every iteration
    assert {error.split(":")[0] for error in errors} == {
        "the loss does not depend on spare.weight, of shape (3, 2)",
        "the loss does not depend on spare.bias, of shape (3,)",
        "the loss does not depend on aside, of shape (2,)",
    }


def test_a_deep_graph_is_looked_through(make_model):
    parameter = torch.nn.Parameter(torch.ones(()))
    loss = parameter
    for _ in range(5000):
        loss = loss * 1.0
    model = torch.nn.Module()
    model.parameter, model.other = parameter, torch.nn.Parameter(torch.ones(1))
    said = []
    logger = SimpleNamespace(log=lambda level, text, *words: said.append(text % words))
    OptimizerHook().detect_anomalous_parameters(loss, SimpleNamespace(model=model, logger=logger))
    assert len(said) == 1
    assert "other" in said[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerHook({}), "grad_clip must be a dict such as"),
        (lambda: OptimizerHook(35), "grad_clip must be a dict"),
        (
            lambda: OptimizerHook({"max_nrom": 1}),
            "the key 'max_nrom', .*it takes max_norm, norm_type, .*did you mean 'max_norm'",
        ),
        (lambda: OptimizerHook({"norm_type": 2}), "grad_clip needs max_norm"),
        (lambda: OptimizerHook({"max_norm": "35"}), "grad_clip's max_norm must be a positive number, not '35'"),
        (lambda: OptimizerHook({"max_norm": -1}), "grad_clip's max_norm must be a positive number, not -1"),
        (lambda: OptimizerHook({"max_norm": True}), "grad_clip's max_norm must be a positive number, not True"),
        (lambda: OptimizerHook({"max_norm": 1, "norm_type": 0}), "grad_clip's norm_type must be a positive number"),
        (
            lambda: OptimizerHook({"max_norm": 1, "foreach": "yes"}),
            "grad_clip's foreach must be True or False, not 'yes'",
        ),
        (
            lambda: OptimizerHook({"max_norm": 1, "error_if_nonfinite": 1}),
            "grad_clip's error_if_nonfinite must be True or False, not 1",
        ),
        (lambda: OptimizerHook(None, 1), "detect_anomalous_params must be True or False, not 1"),
        (lambda: GradientCumulativeOptimizerHook(0), "cumulative_iters must be a positive integer, not 0"),
        (lambda: GradientCumulativeOptimizerHook(1.5), "cumulative_iters must be a positive integer, not 1.5"),
        (lambda: GradientCumulativeOptimizerHook(True), "cumulative_iters must be a positive integer, not True"),
        (lambda: GradientCumulativeOptimizerHook(2, skip_exchange=None), "skip_exchange must be True or False"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_two_of_the_family(make_runner, batches):
    runner = make_runner(max_epochs=1)
    runner.register_hook(OptimizerHook())
    runner.register_hook(Fp16OptimizerHook())
    with pytest.raises(HookError, match="OptimizerHook and Fp16OptimizerHook are both registered"):
        runner.run([batches], TRAIN)


def test_several_optimizers_or_none(make_runner, make_model, batches):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for given, message in (({"gen": optimizer, "disc": optimizer}, r"2 \(gen, disc\)"), (None, "nothing to step")):
        runner = make_runner(model=model, optimizer=given, max_epochs=1)
        runner.register_optimizer_hook({})
        with pytest.raises(HookError, match=message):
            runner.run([batches], TRAIN)


def test_outputs_without_loss(make_runner, make_model, batches):
    model = make_model()
    model.train_step = lambda data, optimizer: {"losses": 1}
    runner = make_runner(model=model, max_epochs=1)
    runner.register_optimizer_hook({})
    with pytest.raises(ModelError, match=r"Net\.train_step\(\) must return a dict with the key 'loss'"):
        runner.run([batches], TRAIN)


class Gan(torch.nn.Module):
    """Two networks whose optimizers step inside train_step."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.generator, self.critic = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)

    def optimizers(self):
        return {
            "generator": torch.optim.SGD(self.generator.parameters(), lr=0.1, momentum=0.9),
            "critic": torch.optim.Adam(self.critic.parameters(), lr=0.01, betas=(0.8, 0.99)),
        }

    def train_step(self, data, optimizer):
        x = data["x"]
        critic = self.critic(self.generator(x).detach()).mean() - self.critic(x).mean()
        optimizer["critic"].zero_grad()
        critic.backward()
        optimizer["critic"].step()
        generator = -self.critic(self.generator(x)).mean()
        optimizer["generator"].zero_grad()
        generator.backward()
        optimizer["generator"].step()
        return {"log_vars": {"critic": critic.detach(), "generator": generator.detach()}, "num_samples": len(x)}


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
def test_optimizers_that_step_inside_train_step(make_runner, batches, kind):
    model = Gan()
    limit = {"max_epochs": 3} if kind is EpochBasedRunner else {"max_iters": 12}
    runner = make_runner(kind, model=model, optimizer=model.optimizers(), **limit)
    runner.register_training_hooks(
        {"policy": "step", "step": 5, "gamma": 0.5, "by_epoch": False},
        momentum_config={"policy": "step", "step": 7, "gamma": 0.5, "by_epoch": False},
    )
    runner.run([batches], TRAIN)

    expected = Gan()
    optimizers = expected.optimizers()
    generator, critic = (optimizer.param_groups[0] for optimizer in optimizers.values())
    for i in range(12):
        generator["lr"], critic["lr"] = 0.1 * 0.5 ** (i // 5), 0.01 * 0.5 ** (i // 5)
        generator["momentum"], critic["betas"] = 0.9 * 0.5 ** (i // 7), (0.8 * 0.5 ** (i // 7), 0.99)
        expected.train_step(batches[i % 4], optimizers)
    assert equal(model.state_dict(), expected.state_dict())
    assert runner.current_lr() == {"generator": [0.1 * 0.5**2], "critic": [0.01 * 0.5**2]}
    assert runner.current_momentum() == {"generator": [0.45], "critic": [0.4]}
    assert set(runner.log_buffer.val_history) >= {"critic", "generator"}


@pytest.mark.parametrize("skip_exchange", [False, True])
def test_only_skipping_exchanges_costs_a_call_before_an_iteration(skip_exchange):
    hook = GradientCumulativeOptimizerHook(4, skip_exchange=skip_exchange)
    assert ("before_train_iter" in hook.get_triggered_stages()) is skip_exchange
