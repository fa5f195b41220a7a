import copy

import pytest
import torch

from mmhooks import ConfigError, GradientCumulativeOptimizerHook, HookError, IterBasedRunner, ModelError, OptimizerHook

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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerHook({"norm": 1}), "grad_clip must be a dict such as"),
        (lambda: OptimizerHook(35), "grad_clip must be a dict"),
        (lambda: GradientCumulativeOptimizerHook(0), "cumulative_iters must be a positive integer, not 0"),
        (lambda: GradientCumulativeOptimizerHook(1.5), "cumulative_iters"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


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
