"""An interrupted and resumed run ends as the uninterrupted one does, where the order of data is fixed."""

import json

import pytest
import torch

from mmhooks import (
    CheckpointError,
    CheckpointHook,
    ConfigError,
    EMAHook,
    EpochBasedRunner,
    Hook,
    IterBasedRunner,
)
from mmhooks.checkpoint import read_checkpoint, write_checkpoint

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
    left = ["epoch_2.pth", "epoch_3.pth", "epoch_4.pth"]  # it went on from the first
    assert sorted(file.name for file in (tmp_path / "work").glob("epoch_*")) == left


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
    assert content["mmhooks"]["position"]["iters"] == 4


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


# what a file says, and what is here --------------------------------------------------------------------------


@pytest.fixture
def saved(make_runner, batches, tmp_path):
    """Change the file of a finished epoch and give its path."""

    def change(**values):
        equip(make_runner(max_epochs=1), ema=False).run([batches], TRAIN)
        content = read_checkpoint(tmp_path / "work" / "epoch_1.pth")
        for key, value in values.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) and key == "meta" else value
        write_checkpoint(content, tmp_path / "changed.pth")
        return tmp_path / "changed.pth"

    return change


@pytest.mark.parametrize(
    ("config", "iteration"),
    [
        ("gpu_ids = range(0, 8)\nmodel = dict(type='Net')", 32),
        ("gpu_ids = [0, 1, 2]", 12),
        ("gpu_ids = range(0, 1)", 4),
        ("gpu_ids = []", 4),
        ("gpu_ids = None", 4),
        ("model = dict(type='Net')", 4),
    ],
)
def test_another_number_of_gpus_rescales_the_iteration(make_runner, saved, config, iteration, caplog):
    caplog.set_level("INFO", "mmhooks")
    runner = make_runner()
    runner.resume(saved(meta={"config": config}, mmhooks={}))  # as MMCV writes it
    assert (runner.epoch, runner.iter) == (1, iteration)
    assert ("GPUs is iteration" in caplog.text) == (iteration != 4)


@pytest.mark.parametrize(
    "config",
    [
        "gpu_ids = __import__('os').mkdir({ran!r})",
        "gpu_ids = [0] * 10 ** 12",
        "gpu_ids = range(0, 10 ** 12)\na = [i for i in gpu_ids]",
        "gpu_ids = 8",
        "configs/a.py\ngpu_ids = [0]",
        "gpu_ids = " + "(" * 5000,
    ],
)
def test_the_config_in_a_file_is_read_and_never_run(make_runner, saved, tmp_path, caplog, config):
    runner = make_runner()
    config = config.replace("{ran!r}", repr(str(tmp_path / "ran")))
    runner.resume(saved(meta={"config": config}, mmhooks={}))
    assert runner.iter == 4
    assert not (tmp_path / "ran").exists()
    assert "the gpu_ids of the file are not known, so the iteration is kept as it is" in caplog.text


def test_another_number_of_processes_rescales_the_iteration(make_runner, saved):
    runner = make_runner()
    position = {"epochs": 1, "iters": 4, "in_epoch": 0, "flow": (0, 1), "loaders": [], "world_size": 3}
    runner.resume(saved(mmhooks={"by_epoch": True, "position": position}))
    assert (runner.epoch, runner.iter) == (1, 12)


def test_iterations_are_not_rescaled(make_runner, batches, tmp_path):
    first = make_runner(IterBasedRunner, max_iters=4, meta={"config": "gpu_ids = range(0, 8)"})
    equip(first, ema=False, interval=4).run([batches], TRAIN)
    again = make_runner(IterBasedRunner, max_iters=6)
    again.resume(tmp_path / "work" / "iter_4.pth")
    assert again.iter == 4


@pytest.mark.parametrize("map_location", ["default", "cpu", None, torch.device("cpu"), lambda storage, place: storage])
def test_map_location(make_runner, saved, map_location):
    runner = make_runner()
    runner.resume(saved(), map_location=map_location)
    assert runner.iter == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_file_of_a_gpu_on_a_cpu_and_back(make_model, make_runner, saved, tmp_path):
    content = read_checkpoint(saved(), map_location="cuda")
    assert content["state_dict"]["first.weight"].is_cuda
    write_checkpoint(content, tmp_path / "cuda.pth")
    runner = make_runner()
    runner.resume(tmp_path / "cuda.pth")
    assert not runner.model.first.weight.is_cuda
    runner = make_runner(model=make_model().cuda())
    runner.resume(tmp_path / "cuda.pth")
    for state in runner.optimizer.state.values():
        assert state["momentum_buffer"].is_cuda
    assert torch.equal(runner.model.first.weight.cpu(), content["state_dict"]["first.weight"].cpu())


def sgd(*shapes, momentum=True):
    state = {i: {"momentum_buffer": torch.zeros(shape)} for i, shape in enumerate(shapes)} if momentum else {}
    return {"state": state, "param_groups": [{"params": list(range(len(shapes)))}]}


SHAPES = ((4, 3), (4,), (2, 4), (2,))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": sgd(*SHAPES), "b": sgd(*SHAPES)}, r"state of 'a', 'b' by name, and the runner has one optimizer"),
        (sgd((4, 3)), "the optimizer had 1 parameters in its groups, and has 4 here"),
        (
            {"state": {}, "param_groups": [{"params": [0, 1]}, {"params": [2, 3]}]},
            r"had 2 \+ 2 parameters in its groups, and has 4",
        ),
        (sgd((5, 3), *SHAPES[1:]), r"momentum_buffer of parameter 0 is \(5, 3\) in the file, .* \(4, 3\) here"),
        ([1], "the optimizer's state is a list"),
        ({"param_groups": []}, "state of another kind"),
    ],
)
def test_the_state_of_other_optimizers_changes_nothing(make_runner, saved, state, message):
    file = saved(optimizer=state)
    runner = make_runner(meta={"mine": 1})
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"changed\.pth.*{message}.*resume_optimizer=False"):
        runner.resume(file)
    assert all(torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())
    assert (runner.epoch, runner.iter, runner.meta) == (0, 0, {"mine": 1})
    runner.resume(file, resume_optimizer=False)
    assert runner.iter == 4


def test_several_optimizers_need_their_names(make_runner, make_model, saved):
    model = make_model()
    parts = {"first": model.first, "last": model.last}
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in parts.items()}
    runner = make_runner(model=model, optimizer=optimizers)
    with pytest.raises(CheckpointError, match=r"holds the state of one optimizer, and the runner has 'first', 'last'"):
        runner.resume(saved())
    part = sgd((4, 3), (4,), momentum=False)
    with pytest.raises(CheckpointError, match=r"holds the state of 'first', and none of 'last'"):
        runner.resume(saved(optimizer={"first": part}))
    with pytest.raises(CheckpointError, match=r"optimizer 'last' had 3 parameters"):
        runner.resume(saved(optimizer={"first": part, "last": sgd(*SHAPES[:3])}))
    runner.resume(saved(optimizer={"other": {}, "first": part, "last": part}))  # as in MMCV, others are passed over
    assert runner.iter == 4


def test_a_file_without_optimizers_says_so(make_runner, saved, tmp_path, caplog):
    content = read_checkpoint(saved())
    del content["optimizer"]
    write_checkpoint(content, tmp_path / "bare.pth")
    make_runner().resume(tmp_path / "bare.pth")
    assert "bare.pth holds no state of an optimizer: it begins anew" in caplog.text


def test_weights_for_which_a_hook_has_a_place_are_not_called_misfits(make_runner, batches, tmp_path, caplog):
    equip(make_runner(max_epochs=2)).run([batches], TRAIN)
    caplog.clear()
    again = equip(make_runner(max_epochs=3))
    again.resume(tmp_path / "work" / "epoch_2.pth")
    again.run([batches], TRAIN)
    assert "do not fit" not in caplog.text

    without = equip(make_runner(max_epochs=4), ema=False)
    without.resume(tmp_path / "work" / "epoch_3.pth")
    assert "do not fit" not in caplog.text  # a hook may still be registered
    without.run([batches], TRAIN)
    told = [record.getMessage() for record in caplog.records if "do not fit" in record.message]
    assert len(told) == 1
    assert "neither it nor a hook has a place for: ema_first_weight" in told[0]


def test_messages_follow_a_folder_that_was_moved(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=3, meta={})
    equip(runner, ema=False).run([batches], TRAIN)
    (tmp_path / "work").rename(tmp_path / "moved")
    again = make_runner(work_dir=tmp_path / "elsewhere")
    again.resume(tmp_path / "moved" / "epoch_3.pth")
    assert again.meta["hook_msgs"]["last_ckpt"] == str(tmp_path / "moved" / "epoch_2.pth")
    (tmp_path / "moved" / "epoch_2.pth").unlink()
    again.resume(tmp_path / "moved" / "epoch_3.pth")  # what does not lie there keeps its name
    assert again.meta["hook_msgs"]["last_ckpt"] == str(tmp_path / "work" / "epoch_2.pth")


def test_a_runner_loads_weights_under_other_names(make_runner, tmp_path):
    runner = make_runner()
    state = {f"net.{key}": torch.zeros_like(value) for key, value in runner.model.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"not in the model: net\.first\.weight"):
        runner.load_checkpoint(tmp_path / "a.pth", strict=True)
    runner.load_checkpoint(str(tmp_path / "a.pth"), "cpu", True, [(r"^net\.", "")])
    assert not any(value.any() for value in runner.model.state_dict().values())


def test_unpickling_is_a_choice_of_a_runner_too(make_runner, saved, tmp_path, caplog):
    file = saved()
    content = read_checkpoint(file)
    content["meta"]["odd"] = slice(1, 2)
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"unpickling runs code.*weights_only=False"):
        make_runner().resume(file)
    runner = make_runner()
    runner.resume(file, weights_only=False)
    runner.load_checkpoint(file, weights_only=False)
    assert runner.meta["odd"] == slice(1, 2)
    assert caplog.text.count("is unpickled because of weights_only=False") == 2


# saving from outside a hook ----------------------------------------------------------------------------------


def test_the_arguments_of_save_checkpoint(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=2, meta={"from": "the runner"})
    runner.run([batches], TRAIN)
    mine = {"from": "the call", "more": 1}
    path = runner.save_checkpoint(tmp_path / "out", "at_{}.pth", False, mine)
    assert path == str(tmp_path / "out" / "at_3.pth")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["at_3.pth", "latest.pth"]
    content = read_checkpoint(path)
    assert (content["meta"]["from"], content["meta"]["more"], "optimizer" in content) == ("the runner", 1, False)
    assert mine == {"from": "the call", "more": 1}
    assert runner.save_checkpoint("memory://saved", storage_options={}) == "memory://saved/epoch_3.pth"
    assert "optimizer" in read_checkpoint("memory://saved/epoch_3.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"create_symlink": "x"}, "save_checkpoint's create_symlink must be True or False, not 'x'"),
        ({"filename_tmpl": 3}, "filename_tmpl must be a file name with one {} for the number, .*, not 3"),
        ({"filename_tmpl": "{}{}"}, "filename_tmpl must be a file name with one {} .*IndexError"),
        ({"out_dir": 3}, "out_dir must be a path .*not 3"),
    ],
)
def test_bad_arguments_of_save_checkpoint(make_runner, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_runner().save_checkpoint(**{"out_dir": str(tmp_path), **arguments})
    assert list(tmp_path.glob("*.pth")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, r"\(no 'meta'\).*use load_from"),
        ({"state_dict": {}, "meta": None}, r"\(no 'meta'\)"),
        ({"state_dict": {}, "meta": {"iter": 3}}, r"\(no 'epoch' in its meta\)"),
        ({"state_dict": {}, "meta": {"epoch": 3}}, r"\(no 'iter' in its meta\)"),
    ],
)
def test_a_file_that_does_not_say_where_the_run_was(make_runner, tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        make_runner().resume(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": 3}, "filename must be a path .*not 3"),
        ({"resume_optimizer": "no"}, "resume's resume_optimizer must be True or False, not 'no'"),
        ({"map_location": "foo"}, "map_location must be a device .*not 'foo'"),
        ({"weights_only": "x"}, "weights_only must be True or False, not 'x'"),
    ],
)
def test_bad_arguments_of_resume(make_runner, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_runner().resume(**{"checkpoint": tmp_path / "a.pth", **arguments})


def test_mmcvs_other_order_of_arguments_is_not_mistaken(make_runner, tmp_path):
    runner = make_runner(IterBasedRunner, max_iters=1)
    with pytest.raises(TypeError, match=r"save_optimizer must be True or False, not dict; .*name the arguments"):
        runner.save_checkpoint(str(tmp_path), "iter_{}.pth", {"my": "meta"})


# what a file knows of hooks and iterations ------------------------------------------------------------------------


def test_a_hook_takes_only_the_record_of_its_own_files(make_runner, batches, tmp_path):
    def make(*hooks, **length):
        runner = make_runner(**length)
        runner.register_training_hooks({"policy": "fixed"}, {}, None)
        for hook in hooks:
            runner.register_hook(hook)
        return runner

    make(CheckpointHook(1, filename_tmpl="keep_{}.pth"), max_epochs=3).run([batches], TRAIN)
    again = make(
        CheckpointHook(1, max_keep_ckpts=1),
        CheckpointHook(1, filename_tmpl="keep_{}.pth", max_keep_ckpts=3),
        max_epochs=5,
    )
    again.resume(tmp_path / "work" / "keep_3.pth")
    again.run([batches], TRAIN)
    names = sorted(path.name for path in (tmp_path / "work").glob("*.pth"))
    assert names == ["epoch_5.pth", "keep_3.pth", "keep_4.pth", "keep_5.pth", "latest.pth"]


@pytest.mark.parametrize("same", [True, False])
def test_averages_of_a_runner_that_resumes(make_runner, make_model, batches, tmp_path, same):
    def make(length):
        runner = make_runner(model=make_model(), max_epochs=length)
        runner.register_training_hooks({"policy": "fixed"}, {}, {"interval": 1})
        runner.register_hook(EMAHook(momentum=0.3, warm_up=1), "ABOVE_NORMAL")
        return runner

    whole = make(4)
    whole.run([batches], TRAIN)
    first = make(2)
    first.run([batches], TRAIN)
    again = first if same else make(4)
    again.resume(tmp_path / "work" / "epoch_2.pth")
    again.run([batches], TRAIN, 4)
    for key, value in whole.model.state_dict().items():
        assert again.model.state_dict()[key].equal(value), key


def test_averages_of_a_part_of_another_shape(make_runner, make_model, batches, tmp_path):
    first = make_runner(max_epochs=1)
    first.register_training_hooks({"policy": "fixed"}, {}, {"interval": 1})
    first.register_hook(EMAHook(), "ABOVE_NORMAL")
    first.run([batches], TRAIN)
    model = make_model()
    model.last = torch.nn.Linear(4, 5)
    kept = model.last.weight.detach().clone()
    runner = make_runner(model=model, max_epochs=2)
    runner.register_hook(EMAHook(), "ABOVE_NORMAL")
    runner.resume(tmp_path / "work" / "epoch_1.pth", resume_optimizer=False)
    runner.call_hook("before_run")
    assert model.ema_last_weight.equal(kept)
    assert not model.ema_first_weight.equal(model.first.weight)  # the file's


@pytest.mark.parametrize("point", ["before_train_iter", "after_train_iter", "after_epoch", "after_run"])
def test_an_iteration_is_neither_repeated_nor_skipped(make_runner, batches, tmp_path, at, point):
    def save(runner):
        if runner.iter == {"before_train_iter": 3, "after_train_iter": 2}.get(point, 3):
            runner.save_checkpoint(tmp_path, "saved.pth", create_symlink=False)

    runner = make_runner(IterBasedRunner, max_iters=3 + (point == "before_train_iter"))
    runner.register_hook(at(**{point: save}))
    runner.run([batches], TRAIN)
    again = make_runner(IterBasedRunner, max_iters=8)
    again.resume(tmp_path / "saved.pth")
    assert again.iter == 3


@pytest.mark.parametrize("exact", [True, False])
def test_gradients_of_other_weights_are_forgotten(make_runner, batches, tmp_path, exact):
    runner = make_runner(max_epochs=1)
    runner.save_checkpoint(tmp_path, "saved.pth")
    if not exact:  # MMCV's
        content = torch.load(tmp_path / "saved.pth", weights_only=True)
        del content["mmhooks"]
        torch.save(content, tmp_path / "saved.pth")
    runner.model.loss(batches[0]).backward()
    runner.resume(tmp_path / "saved.pth")
    assert (runner.model.first.weight.grad is None) is exact


# an early end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "length", "file"),
    [(EpochBasedRunner, {"max_epochs": 9}, "epoch_2.pth"), (IterBasedRunner, {"max_iters": 40}, "iter_6.pth")],
)
def test_a_run_that_is_stopped_saves_its_last_checkpoint(make_runner, batches, tmp_path, at, kind, length, file):
    runner = make_runner(kind, **length)
    runner.register_training_hooks({"policy": "fixed"}, {}, {"interval": 30})
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 5 and r.stop("enough")), "HIGHEST")
    runner.run([batches], TRAIN)
    assert sorted(path.name for path in (tmp_path / "work").glob("*.pth")) == [file, "latest.pth"]


# in the middle -------------------------------------------------------------------------------------------------


class SaveThere(Hook):
    def before_train_iter(self, runner):
        if runner.iter == self.at[0]:
            runner.save_checkpoint(runner.work_dir, "before.pth", create_symlink=False)

    def after_train_iter(self, runner):
        if runner.iter == self.at[1]:
            runner.save_checkpoint(runner.work_dir, "after.pth", create_symlink=False)

    def __init__(self, before, after):
        self.at = before, after


@pytest.mark.parametrize("cls", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("at", [(1, 6), (6, 3), (5, 9)])
def test_a_file_of_the_middle_goes_on_there(make_runner, batches, tmp_path, cls, name, at):
    """In the epoch (or pass over the loader), in the flow of the workflow, in the group of accumulated gradients."""

    def make(folder):
        limit = {"max_epochs": 3} if cls is EpochBasedRunner else {"max_iters": 11}
        runner = make_runner(cls, work_dir=tmp_path / folder, **limit)
        accumulate = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3}
        runner.register_training_hooks(dict(COSINE), accumulate)
        return runner

    workflow = [("train", 2), ("val", 1)] if cls is EpochBasedRunner else [("train", 5), ("val", 2)]
    whole, again, calls = make("whole"), make("again"), {"whole": [], "again": []}
    for runner, log in ((whole, calls["whole"]), (again, calls["again"])):
        watch = Hook()
        watch.after_iter = lambda runner, log=log: log.append(
            (runner.mode, runner.iter, runner.inner_iter, runner.epoch)
        )
        runner.register_hook(watch)
    whole.register_hook(SaveThere(*at), "LOWEST")
    whole.run([batches, batches[:2]], workflow)
    again.resume(tmp_path / "whole" / f"{name}.pth")
    assert again.iter == at[name == "after"] + (name == "after")
    again.run([batches, batches[:2]], workflow)
    same(again, whole)
    assert calls["again"] == calls["whole"][-len(calls["again"]) :]


def test_gradients_that_the_file_lacks_are_told(make_runner, batches, tmp_path, caplog):
    def make():
        runner = make_runner(max_epochs=2)
        runner.register_optimizer_hook({"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3})
        return runner

    first = make()
    first.register_hook(CheckpointHook(interval=1))
    first.run([batches], TRAIN)
    for kept in (True, False):
        content = read_checkpoint(tmp_path / "work" / "epoch_1.pth")
        assert content["mmhooks"]["hooks"]["GradientCumulativeOptimizerHook"][0]["gradients"]
        if not kept:
            del content["mmhooks"]["hooks"]
        write_checkpoint(content, tmp_path / "file.pth")
        again = make()
        again.resume(tmp_path / "file.pth")
        again.run([batches], TRAIN)
        assert ("the gradients of its first part are lost" in caplog.text) is not kept


class Longer(EpochBasedRunner):
    """A loop of one's own, as projects have them: where it is in an epoch, nobody else knows."""

    def train(self, data_loader, **kwargs):
        self.model.train()
        self.mode = "train"
        self.data_loader = data_loader
        self.call_hook("before_train_epoch")
        for i, batch in enumerate(data_loader):
            self.inner_iter = i
            self.call_hook("before_train_iter")
            self.run_iter(batch, train_mode=True)
            self.call_hook("after_train_iter")
            self.iter += 1
        self.call_hook("after_train_epoch")
        self.epoch += 1


def test_a_loop_of_ones_own_resumes_by_mmcvs_meta(make_runner, batches, tmp_path):
    runner = equip(make_runner(Longer, max_epochs=2))
    runner.run([batches], TRAIN)
    content = read_checkpoint(tmp_path / "work" / "epoch_1.pth")
    assert "position" not in content["mmhooks"]
    again = equip(make_runner(Longer, max_epochs=2))
    again.resume(tmp_path / "work" / "epoch_1.pth")
    assert (again.epoch, again.iter) == (1, 4)
    again.run([batches], TRAIN)
    same(again, runner)
