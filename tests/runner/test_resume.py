"""An interrupted and resumed run ends as the uninterrupted one does, where the order of data is fixed."""

import json

import pytest
import torch

from mmhooks import CheckpointError, Hook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint

TRAIN = [("train", 1)]
COSINE = {"policy": "CosineAnnealing", "min_lr": 0.001, "warmup": "linear", "warmup_iters": 6}


class Interrupted(Exception):
    pass


class Interrupt(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner):
        if runner.iter == self.iteration:
            raise Interrupted


def equip(runner, *, ema=True, interval=1):
    runner.register_training_hooks(
        dict(COSINE),
        optimizer_config={"grad_clip": {"max_norm": 1.0}},
        checkpoint_config={"interval": interval, "max_keep_ckpts": 2},
        log_config={"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
        custom_hooks_config=[{"type": "EMAHook", "momentum": 0.2, "priority": "ABOVE_NORMAL"}] if ema else None,
    )
    return runner


def same(first, second):
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    assert first.current_lr() == second.current_lr()
    for mine, other in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], other["momentum_buffer"])
    assert (first.epoch, first.iter) == (second.epoch, second.iter)


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("stop_at", [8, 11])
def test_epochs(make_runner, batches, tmp_path, ema, stop_at):
    whole = equip(make_runner(max_epochs=4, work_dir=tmp_path / "whole"), ema=ema)
    whole.run([batches], TRAIN)

    broken = equip(make_runner(max_epochs=4), ema=ema)
    broken.register_hook(Interrupt(stop_at), "HIGHEST")
    with pytest.raises(Interrupted):
        broken.run([batches], TRAIN)

    again = equip(make_runner(max_epochs=4), ema=ema)
    again.resume(tmp_path / "work" / "latest.pth")
    assert (again.epoch, again.iter) == (2, 8)
    again.run([batches], TRAIN)
    same(again, whole)
    assert sorted(file.name for file in (tmp_path / "work").glob("epoch_*")) == ["epoch_3.pth", "epoch_4.pth"]


def test_epochs_through_ema_resume_from(make_runner, batches, tmp_path):
    whole = equip(make_runner(max_epochs=4, work_dir=tmp_path / "whole"))
    whole.run([batches], TRAIN)
    again = equip(make_runner(max_epochs=4), ema=False)
    again.register_hook(
        {"type": "EMAHook", "momentum": 0.2, "resume_from": str(tmp_path / "whole" / "epoch_3.pth"), "priority": 41}
    )
    again.run([batches], TRAIN)
    same(again, whole)


@pytest.mark.parametrize("ema", [True, False])
def test_iterations(make_runner, batches, tmp_path, ema):
    whole = equip(make_runner(IterBasedRunner, max_iters=12, work_dir=tmp_path / "whole"), ema=ema, interval=4)
    whole.run([batches], TRAIN)

    broken = equip(make_runner(IterBasedRunner, max_iters=12), ema=ema, interval=4)
    broken.register_hook(Interrupt(10), "HIGHEST")
    with pytest.raises(Interrupted):
        broken.run([batches], TRAIN)

    again = equip(make_runner(IterBasedRunner, max_iters=12), ema=ema, interval=4)
    again.resume(tmp_path / "work" / "iter_8.pth")
    assert again.iter == 8
    again.run([batches], TRAIN)
    assert again.iter == whole.iter == 12
    for key, value in again.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key
    assert again.current_lr() == whole.current_lr()


def test_meta_stays_as_mmcv_writes_it(make_runner, batches, tmp_path):
    runner = equip(make_runner(IterBasedRunner, max_iters=4), interval=4)
    runner.run([batches], TRAIN)
    content = read_checkpoint(tmp_path / "work" / "iter_4.pth")
    assert (content["meta"]["epoch"], content["meta"]["iter"]) == (1, 3)
    assert content["mmhooks"]["finished_iters"] == 4


def test_a_file_with_mmcvs_meta_alone_resumes_as_mmcv_does(make_runner, batches, tmp_path):
    runner = equip(make_runner(IterBasedRunner, max_iters=4), ema=False, interval=4)
    runner.run([batches], TRAIN)
    content = read_checkpoint(tmp_path / "work" / "iter_4.pth")
    del content["mmhooks"]
    torch.save(content, tmp_path / "mmcv.pth")
    again = equip(make_runner(IterBasedRunner, max_iters=6), ema=False)
    again.resume(tmp_path / "mmcv.pth")
    assert again.iter == 3  # one iteration is repeated
    again.run([batches], TRAIN)
    assert again.iter == 6


def test_messages_and_meta_come_along(make_runner, batches, tmp_path):
    runner = equip(make_runner(max_epochs=2, meta={"seed": 3}))
    runner.run([batches], TRAIN)
    again = make_runner(max_epochs=3)
    again.resume(tmp_path / "work" / "epoch_2.pth")
    assert again.meta["seed"] == 3
    assert again.meta["hook_msgs"]["last_ckpt"].endswith("epoch_1.pth")


def test_without_the_optimizer(make_runner, batches, tmp_path):
    equip(make_runner(max_epochs=1)).run([batches], TRAIN)
    again = make_runner(lr=0.7, max_epochs=2)
    again.resume(tmp_path / "work" / "epoch_1.pth", resume_optimizer=False)
    assert again.current_lr() == [0.7]
    assert again.optimizer.state_dict()["state"] == {}


def test_several_optimizers(make_runner, make_model, batches, tmp_path):
    def make():
        model = make_model()
        parts = {"first": model.first, "last": model.last}

        def train_step(data, optimizers):
            loss = model.loss(data)
            for one in optimizers.values():
                one.zero_grad()
            loss.backward()
            for one in optimizers.values():
                one.step()
            return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 1}

        model.train_step = train_step
        optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9) for name, part in parts.items()}
        runner = make_runner(model=model, optimizer=optimizers, max_epochs=2)
        runner.register_training_hooks(dict(COSINE), checkpoint_config={"interval": 1})
        return runner

    whole = make()
    whole.run([batches], TRAIN)
    again = make()
    again.resume(tmp_path / "work" / "epoch_1.pth")
    again.run([batches], TRAIN)
    for key, value in again.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key


def test_a_finished_run_only_begins_and_ends(make_runner, batches, tmp_path, at):
    equip(make_runner(max_epochs=1)).run([batches], TRAIN)
    again, points = make_runner(max_epochs=1), []
    again.register_hook(
        at(**{p: (lambda r, p=p: points.append(p)) for p in ("before_run", "before_train_epoch", "after_run")})
    )
    again.resume(tmp_path / "work" / "epoch_1.pth")
    again.run([batches], TRAIN)
    assert points == ["before_run", "after_run"]


def test_the_log_goes_on(make_runner, batches, tmp_path):
    equip(make_runner(max_epochs=1)).run([batches], TRAIN)
    again = equip(make_runner(max_epochs=2))
    again.timestamp = "resumed"
    again.resume(tmp_path / "work" / "epoch_1.pth")
    again.run([batches], TRAIN)
    lines = [json.loads(line) for line in (tmp_path / "work" / "resumed.log.json").read_text().splitlines()]
    assert [(line["epoch"], line["iter"]) for line in lines[1:]] == [(2, 2), (2, 4)]


def test_weights_alone_are_no_place_to_resume_from(make_runner, tmp_path):
    runner = make_runner()
    torch.save(runner.model.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth does not say where the run was.*load_from"):
        runner.resume(tmp_path / "weights.pth")
    assert runner.load_checkpoint(tmp_path / "weights.pth", strict=True)["state_dict"]


def test_a_refused_resume_leaves_weights_and_counters(make_runner, tmp_path):
    runner = make_runner()
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    state = {key: torch.zeros_like(value) for key, value in before.items()}
    torch.save({"state_dict": state, "meta": {"epoch": 5}}, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match="'iter'"):
        runner.resume(tmp_path / "half.pth")
    assert (runner.epoch, runner.iter) == (0, 0)
    assert all(torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())


def test_a_file_written_in_a_hook_of_an_epoch_holds_no_half_state(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=1, work_dir=None)
    with pytest.raises(TypeError, match="meta must be a dict"):
        runner.save_checkpoint(str(tmp_path), meta=[1])
    path = runner.save_checkpoint(str(tmp_path), meta={"own": 1}, create_symlink=False)
    assert read_checkpoint(path)["meta"]["own"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["epoch_1.pth"]


def test_weights_to_start_from_bring_no_averages(make_runner, batches, tmp_path):
    """load_from takes a file's weights as the beginning of another run; its averages belong to the old one."""
    equip(make_runner(max_epochs=2, work_dir=tmp_path / "old")).run([batches], TRAIN)

    class Look(Hook):
        def before_train_epoch(self, runner):
            for name, parameter in runner.model.named_parameters():
                assert torch.equal(parameter, getattr(runner.model, f"ema_{name.replace('.', '_')}"))

    runner = equip(make_runner(max_epochs=1, work_dir=tmp_path / "new"))
    runner.register_hook(Look(), "HIGHEST")
    runner.load_checkpoint(tmp_path / "old" / "latest.pth")
    runner.run([batches], TRAIN)
    assert runner.epoch == 1
