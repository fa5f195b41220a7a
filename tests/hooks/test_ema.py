import pytest
import torch

from mmhooks import CheckpointHook, ConfigError, EMAHook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint

TRAIN = [("train", 1)]


@pytest.mark.parametrize(("interval", "momentum", "warm_up"), [(1, 0.3, 100), (1, 0.3, 2), (3, 0.5, 100)])
def test_the_average_is_that_of_the_formula(make_runner, batches, at, interval, momentum, warm_up):
    averages, seen = {}, []

    def follow(runner):
        m = min(momentum**interval, (1 + runner.iter) / (warm_up + runner.iter))
        for name, parameter in runner.model.named_parameters():
            if runner.iter % interval == 0:
                averages[name].mul_(1 - m).add_(parameter.detach(), alpha=m)
        buffers = dict(runner.model.named_buffers())
        seen.append(all(torch.equal(buffers[f"ema_{n.replace('.', '_')}"], a) for n, a in averages.items()))

    runner = make_runner(max_epochs=2)
    averages.update({name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()})
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(momentum, interval, warm_up), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_iter=follow))
    runner.run([batches], TRAIN)
    assert seen == [True] * 8


def test_averages_between_epochs_and_raw_weights_in_them(make_runner, batches, at):
    raw, shown = [], []

    def state(runner):
        return {name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()}

    runner = make_runner(max_epochs=2)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    runner.register_hook(
        at(
            before_train_epoch=lambda r: raw.append(state(r)),
            after_train_iter=lambda r: r.inner_iter == 3 and raw.append(state(r)),
            after_train_epoch=lambda r: shown.append(state(r)),
        ),
        "LOW",
    )
    runner.run([batches], TRAIN)
    _, end, begin, _ = raw
    for name, value in end.items():
        assert torch.equal(value, begin[name])
        assert not torch.equal(value, shown[0][name])


def test_tensors_taken_before_the_run_stay_the_models(make_runner, batches):
    runner = make_runner(max_epochs=2)
    kept = runner.model.state_dict()
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    runner.run([batches], TRAIN)
    now = runner.model.state_dict()
    for name, value in kept.items():
        assert torch.equal(value, now[name])
        assert value.data_ptr() == now[name].data_ptr()


def test_the_file_holds_the_averages_as_the_models_weights(make_runner, batches, tmp_path, caplog):
    runner = make_runner(max_epochs=1)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    runner.register_hook(CheckpointHook(1))
    runner.run([batches], TRAIN)
    state = read_checkpoint(tmp_path / "work" / "epoch_1.pth")["state_dict"]
    assert torch.equal(state["first.weight"], runner.model.first.weight)
    assert torch.equal(state["ema_first_weight"], runner.model.ema_first_weight)
    assert not torch.equal(state["first.weight"], state["ema_first_weight"])
    assert "EMAHook runs after" not in caplog.text


def test_an_iteration_based_run_never_swaps(make_runner, batches):
    plain, averaged = make_runner(IterBasedRunner, max_iters=5), make_runner(IterBasedRunner, max_iters=5)
    averaged.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    for runner in (plain, averaged):
        runner.register_optimizer_hook({})
        runner.run([batches], TRAIN)
    for ours, theirs in zip(plain.model.parameters(), averaged.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_wrong_order_is_warned_of(make_runner, batches, caplog):
    runner = make_runner(max_epochs=1)
    runner.register_hook(CheckpointHook(1))
    runner.register_hook(EMAHook())
    runner.run([batches], TRAIN)
    assert "EMAHook runs after CheckpointHook" in caplog.text
    assert "priority='ABOVE_NORMAL'" in caplog.text


def test_two_parameters_for_one_buffer(make_runner, make_model, batches):
    model = make_model()
    model.register_parameter("first_weight", torch.nn.Parameter(torch.ones(1)))
    runner = make_runner(model=model, max_epochs=1)
    runner.register_hook(EMAHook())
    with pytest.raises(ConfigError, match="would share ema_first_weight: rename"):
        runner.run([batches], TRAIN)


@pytest.mark.parametrize("arguments", [{"momentum": 0}, {"momentum": 1}, {"interval": 0}, {"interval": 1.5}])
def test_bad_arguments(arguments):
    with pytest.raises(ConfigError, match=f"EMAHook's {next(iter(arguments))} must be"):
        EMAHook(**arguments)
