"""Fp16OptimizerHook and its kin against plain torch.amp loops, on the CPU (and on a GPU where there is one)."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import (
    CheckpointError,
    ConfigError,
    EMAHook,
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    IterBasedRunner,
    OptimizerHook,
    auto_fp16,
    force_fp32,
)
from mmhooks.checkpoint import read_checkpoint

TRAIN = [("train", 1)]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


class Mixed(nn.Module):
    """A body in fp16, a loss in fp32, and a factor that can make the gradients overflow."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.fp16_enabled = False
        self.seen = set()

    @auto_fp16(apply_to=("x",))
    def forward(self, x):
        out = self.last(torch.relu(self.first(x)))
        self.seen.add(out.dtype)
        return out

    @force_fp32(apply_to=("out",))
    def loss(self, out, y):
        assert out.dtype == torch.float32
        return nn.functional.cross_entropy(out, y)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = self.loss(self(data["x"]), data["y"]) * data.get("boost", 1.0)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}


@pytest.fixture
def boosted(batches):
    """Batches of which the third makes the gradients overflow."""
    batches = copy.deepcopy(batches)
    batches[2]["boost"] = 1e36
    return batches


def by_hand(batches, iterations, *, dtype=torch.float16, every=1, clip=None, fixed=None, device="cpu", **arguments):
    """Train with nothing but torch.amp; give the weights, the norms, and the scale after each step."""
    model = Mixed().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if fixed is not None:
        arguments["init_scale"] = fixed
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16, **arguments)
    norms, scales = [], []
    for i in range(iterations):
        batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batches[i % len(batches)].items()}
        rest = iterations % every
        size = every if i < iterations - rest else rest
        with torch.autocast(device, dtype=dtype):
            out = model.last(torch.relu(model.first(batch["x"])))
        loss = nn.functional.cross_entropy(out.float(), batch["y"]) * batch.get("boost", 1.0)
        scaler.scale(loss / size).backward()
        if (i + 1) % every == 0 or i + 1 == iterations:
            scaler.unscale_(optimizer)
            if clip is not None:
                norms.append(repr(float(nn.utils.clip_grad_norm_(model.parameters(), clip))))
            scaler.step(optimizer)
            scaler.update(fixed)
            optimizer.zero_grad()
            scales.append(scaler.get_scale())
    return model.state_dict(), norms, scales


def equal(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


def logged_norms(runner):
    return [repr(float(norm)) for norm in runner.log_buffer.val_history.get("grad_norm", [])]  # some are nan


def scale_of(runner):
    return runner.meta["fp16"]["loss_scaler"]["scale"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        ({}, {"fixed": 512.0}),
        ({"loss_scale": 7.0, "coalesce": False, "bucket_size_mb": 25, "distributed": False}, {"fixed": 7.0}),
        ({"loss_scale": 64}, {"fixed": 64.0}),
        ({"loss_scale": np.float32(64)}, {"fixed": 64.0}),
        ({"loss_scale": "dynamic", "grad_clip": {"max_norm": 0.5}}, {"clip": 0.5}),
        (
            {"loss_scale": {"init_scale": 64.0, "growth_factor": 1.7, "backoff_factor": 0.25, "growth_interval": 3}},
            {"init_scale": 64.0, "growth_factor": 1.7, "backoff_factor": 0.25, "growth_interval": 3},
        ),
    ],
    ids=["default", "fixed", "whole", "numpy", "dynamic", "dict"],
)
def test_the_numbers_of_a_loop_by_hand(make_runner, boosted, at, arguments, plain, device):
    runner = make_runner(model=Mixed().to(device), max_epochs=3)
    runner.register_optimizer_hook({"type": "Fp16OptimizerHook", **arguments})
    scales = []
    runner.register_hook(at(after_train_iter=lambda runner: scales.append(scale_of(runner))), "LOW")
    runner.run([boosted], TRAIN)
    weights, norms, expected = by_hand(boosted, 12, device=device, **plain)
    assert equal(runner.model.state_dict(), weights)
    assert scales == expected
    assert logged_norms(runner) == norms
    assert runner.model.seen == {torch.float16}
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("every", "iterations"), [(3, 11), (2, 4), (1, 3)])
def test_accumulation_in_fp16(make_runner, boosted, every, iterations, device):
    runner = make_runner(IterBasedRunner, model=Mixed().to(device), max_iters=iterations)
    scale = {"init_scale": 64.0, "growth_interval": 2}
    hook = GradientCumulativeFp16OptimizerHook(every, grad_clip={"max_norm": 0.5}, loss_scale=scale)
    runner.register_hook(hook)
    runner.run([boosted], TRAIN)
    weights, norms, scales = by_hand(boosted, iterations, every=every, clip=0.5, device=device, **scale)
    assert equal(runner.model.state_dict(), weights)
    assert scale_of(runner) == scales[-1]
    assert logged_norms(runner) == norms


def test_accumulation_takes_what_the_exchange_once_needed(make_runner, boosted):
    runner = make_runner(IterBasedRunner, model=Mixed(), max_iters=7)
    hook = GradientCumulativeFp16OptimizerHook(3, coalesce=False, bucket_size_mb=np.int64(25), distributed=False)
    assert (hook.coalesce, hook.bucket_size_mb, hook.distributed) == (False, 25, False)
    runner.register_hook(hook)
    runner.run([boosted], TRAIN)
    assert equal(runner.model.state_dict(), by_hand(boosted, 7, every=3, fixed=512.0)[0])


@pytest.mark.parametrize("make", [Fp16OptimizerHook, GradientCumulativeFp16OptimizerHook])
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_parameters_that_the_loss_does_not_depend_on(make_runner, batches, caplog, make, dtype):
    model = Mixed()
    model.spare = nn.Linear(2, 3)
    model.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    runner = make_runner(model=model, max_epochs=1)
    runner.register_hook(make(detect_anomalous_params=True, dtype=dtype))
    runner.run([batches], TRAIN)
    errors = [record.getMessage().split(":")[0] for record in caplog.records if record.levelname == "ERROR"]
    assert errors == 4 * [  # at every iteration
        "the loss does not depend on spare.weight, of shape (3, 2)",
        "the loss does not depend on spare.bias, of shape (3,)",
    ]


def test_numbers_of_numpy_do_not_go_into_files():
    scale = {"init_scale": np.float32(64), "growth_factor": np.float64(2), "growth_interval": np.int64(3)}
    state = Fp16OptimizerHook(loss_scale=scale).loss_scaler.state_dict()
    assert (state["scale"], state["growth_factor"], state["growth_interval"]) == (64.0, 2.0, 3)
    assert {type(value) for value in state.values()} <= {int, float}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("every", [1, 3])
def test_bf16_scales_nothing(make_runner, batches, every, device):
    runner = make_runner(model=Mixed().to(device), max_epochs=2, meta={"seed": 0})
    hook = GradientCumulativeFp16OptimizerHook(every, dtype="bf16") if every > 1 else Fp16OptimizerHook(dtype="bf16")
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert equal(runner.model.state_dict(), by_hand(batches, 8, dtype=torch.bfloat16, every=every, device=device)[0])
    assert runner.model.seen == {torch.bfloat16}
    assert hook.loss_scaler is None
    assert runner.meta == {"seed": 0}


def test_a_scaler_that_is_switched_off(make_runner, batches):
    runner = make_runner(model=Mixed(), max_epochs=1)
    runner.register_optimizer_hook({"type": "Fp16OptimizerHook", "loss_scale": {"enabled": False}})
    runner.run([batches], TRAIN)
    assert runner.model.seen == {torch.float16}
    # the same loop with a scale of 1, which changes nothing
    assert equal(runner.model.state_dict(), by_hand(batches, 4, fixed=1.0)[0])
    assert runner.meta["fp16"]["loss_scaler"] == {}


def test_a_model_without_decorated_methods_is_told_of(make_runner, make_model, batches, caplog):
    """It trains as MMCV trains it: in fp32, with a scaled loss (a power of two: the same bits)."""
    weights = []
    for hook in (OptimizerHook(), Fp16OptimizerHook()):
        runner = make_runner(model=make_model(), max_epochs=1)
        runner.register_hook(hook)
        runner.run([batches], TRAIN)
        weights.append(runner.model.state_dict())
    assert equal(*weights)
    assert caplog.text.count("no module of Net has the attribute fp16_enabled") == 1


def test_gradients_outside_of_the_optimizer_are_zeroed(make_runner, batches):
    """Otherwise than OptimizerHook does, as in MMCV."""
    model = Mixed()
    model.unowned = nn.Parameter(torch.ones(()))
    step = model.train_step

    def train_step(data, optimizer):
        outputs = step(data, optimizer)
        return {**outputs, "loss": outputs["loss"] * model.unowned}

    model.train_step = train_step
    optimizer = torch.optim.SGD([p for name, p in model.named_parameters() if name != "unowned"], lr=0.0)
    runner = make_runner(model=model, optimizer=optimizer, max_epochs=1)
    runner.register_hook(Fp16OptimizerHook(loss_scale=1.0))
    runner.run([batches], TRAIN)
    last = nn.functional.cross_entropy(model(batches[-1]["x"]).float(), batches[-1]["y"])
    assert float(model.unowned.grad) == pytest.approx(last.item(), rel=1e-3)


def test_they_are_what_their_names_say():
    assert issubclass(Fp16OptimizerHook, OptimizerHook)
    assert issubclass(GradientCumulativeFp16OptimizerHook, GradientCumulativeOptimizerHook)
    assert issubclass(GradientCumulativeFp16OptimizerHook, Fp16OptimizerHook)


class Scaling(Fp16OptimizerHook):
    """A subclass as MMCV code has them: its own sequence around the scaler."""

    def after_train_iter(self, runner):
        runner.model.zero_grad()
        runner.optimizer.zero_grad()
        self.loss_scaler.scale(runner.outputs["loss"]).backward()
        self.loss_scaler.unscale_(runner.optimizer)
        self.loss_scaler.step(runner.optimizer)
        self.loss_scaler.update(self._scale_update_param)
        runner.meta.setdefault("fp16", {})["loss_scaler"] = self.loss_scaler.state_dict()


def test_a_subclass_in_the_manner_of_mmcv(make_runner, boosted):
    runner = make_runner(model=Mixed(), max_epochs=1, meta={})
    runner.register_hook(Scaling())
    runner.run([boosted], TRAIN)
    assert equal(runner.model.state_dict(), by_hand(boosted, 4, fixed=512.0)[0])


# the state of the scaler ------------------------------------------------------------------------------------

GROWING = {"init_scale": 64.0, "growth_factor": 1.7, "growth_interval": 3}


@pytest.mark.parametrize("how", ["resume", "EMAHook"])
def test_a_resume_goes_on_with_the_scale(make_runner, boosted, tmp_path, how):
    whole = make_runner(model=Mixed(), max_epochs=3)
    whole.register_hook(Fp16OptimizerHook(loss_scale=GROWING), "ABOVE_NORMAL")
    if how == "EMAHook":
        whole.register_hook(EMAHook())
    whole.register_checkpoint_hook({"interval": 1, "out_dir": str(tmp_path)})
    whole.run([boosted], TRAIN)

    path = next(tmp_path.rglob("epoch_1.pth"))
    assert read_checkpoint(path)["meta"]["fp16"]["loss_scaler"]["_growth_tracker"] == 1
    rest = make_runner(model=Mixed(), max_epochs=3)
    rest.register_hook(Fp16OptimizerHook(loss_scale="dynamic"), "ABOVE_NORMAL")
    if how == "EMAHook":
        rest.register_hook(EMAHook(resume_from=str(path)))  # after the before_run of the optimizer hook
    else:
        rest.resume(path)
    rest.run([boosted], TRAIN)
    assert equal(rest.model.state_dict(), whole.model.state_dict())
    assert rest.meta["fp16"]["loss_scaler"] == whole.meta["fp16"]["loss_scaler"]


def test_a_resume_in_the_middle_of_a_run(make_runner, batches, at):
    other = {**torch.amp.GradScaler("cpu").state_dict(), "scale": 2.0}

    def resume(runner):
        if runner.iter == 2:
            runner.meta = {"fp16": {"loss_scaler": other}}

    runner = make_runner(model=Mixed(), max_epochs=1)
    runner.register_hook(Fp16OptimizerHook(loss_scale="dynamic"))
    runner.register_hook(at(before_train_iter=resume))
    runner.run([batches], TRAIN)
    assert runner.meta["fp16"]["loss_scaler"] == {**other, "_growth_tracker": 2}


def test_a_fixed_scale_is_the_hooks_own_after_a_resume(make_runner, batches, at):
    """The file's scale holds for one step, as in MMCV."""
    meta = {"fp16": {"loss_scaler": {**torch.amp.GradScaler("cpu").state_dict(), "scale": 32.0}}}
    runner = make_runner(model=Mixed(), max_epochs=1, meta=meta)
    scales = []
    hook = Fp16OptimizerHook()
    runner.register_hook(at(before_train_iter=lambda runner: scales.append(scale_of(runner))))
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert scales == [32.0, 512.0, 512.0, 512.0]


def test_the_state_of_mmcv_on_a_cpu_is_passed_over(make_runner, batches):
    runner = make_runner(model=Mixed(), max_epochs=1, meta={"fp16": {"loss_scaler": {}}})
    runner.register_hook(Fp16OptimizerHook())
    runner.run([batches], TRAIN)
    assert scale_of(runner) == 512.0


def test_a_state_of_another_scaler(make_runner, batches):
    old = {"cur_scale": 512.0, "cur_iter": 3, "mode": "dynamic"}
    runner = make_runner(model=Mixed(), max_epochs=1, meta={"fp16": {"loss_scaler": old}})
    runner.register_hook(Fp16OptimizerHook())
    with pytest.raises(CheckpointError, match=r"has no 'scale': it is no state of a GradScaler \(cur_scale, cur_iter"):
        runner.run([batches], TRAIN)


@pytest.mark.parametrize(
    ("fp16", "says"),
    [
        ({"loss_scaler": 5}, r"meta\['fp16'\]\['loss_scaler'\] of the resumed file is 5: it is no state"),
        (5, r"meta\['fp16'\] of the resumed file is 5: it is no state of a GradScaler. Take it out"),
        (
            {"loss_scaler": {**torch.amp.GradScaler("cpu").state_dict(), "scale": "x"}},
            r"has scale='x', which is no number: it is no state of a GradScaler \(scale, growth_factor, .*begin with",
        ),
    ],
)
def test_a_state_that_is_none(make_runner, batches, fp16, says):
    runner = make_runner(model=Mixed(), max_epochs=1, meta={"fp16": fp16})
    runner.register_hook(Fp16OptimizerHook(loss_scale="dynamic"))
    with pytest.raises(CheckpointError, match=says):
        runner.run([batches], TRAIN)


def test_the_state_in_meta_reads_like_a_dict(make_runner, boosted):
    """It is the scaler's state whenever one looks, and plain values in whatever is made of it."""
    hook = Fp16OptimizerHook(loss_scale="dynamic")
    runner = make_runner(model=Mixed(), max_epochs=1)
    runner.register_hook(hook)
    runner.run([boosted], TRAIN)
    state, plain = runner.meta["fp16"]["loss_scaler"], hook.loss_scaler.state_dict()
    assert plain["scale"] == 32768.0
    assert isinstance(state, dict)
    assert state == plain
    assert state["scale"] == state.get("scale") == plain["scale"]
    assert state.get("other", 5) == 5
    assert list(state) == list(state.keys()) == list(plain)
    assert list(state.items()) == list(plain.items())
    assert list(state.values()) == list(plain.values())
    for made in (dict(state), {**state}, state.copy(), copy.deepcopy(state), json.loads(json.dumps(state))):
        assert type(made) is dict
        assert made == plain
    assert repr(state) == repr(plain)
    kept = copy.deepcopy(state)
    hook.loss_scaler.update(8.0)
    assert state["scale"] == 8.0
    assert kept["scale"] == 32768.0


def test_the_state_is_read_when_somebody_looks(make_runner, batches, monkeypatch):
    """Reading it waits for the device, so an iteration does not."""
    hook = Fp16OptimizerHook(loss_scale="dynamic")
    reads = []
    state_dict = hook.loss_scaler.state_dict
    monkeypatch.setattr(hook.loss_scaler, "state_dict", lambda: (reads.append(1), state_dict())[1])
    runner = make_runner(model=Mixed(), max_epochs=3)
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert reads == []
    assert scale_of(runner) == 65536.0
    assert reads == [1]


# refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss_scale": "dynamo"}, "loss_scale must be a positive number .*not 'dynamo'; did you mean 'dynamic'"),
        ({"loss_scale": None}, "loss_scale must be a positive number such as 512., 'dynamic', or a dict"),
        ({"loss_scale": True}, "loss_scale must be"),
        ({"loss_scale": -2.0}, "loss_scale must be"),
        ({"loss_scale": np.float32(-2)}, "loss_scale must be"),
        ({"loss_scale": np.ones(2)}, "loss_scale must be a positive number"),
        ({"loss_scale": [1]}, "loss_scale must be"),
        ({"loss_scale": float("inf")}, "loss_scale must be a positive number .*, not inf"),
        ({"loss_scale": float("nan")}, "loss_scale must be a positive number .*, not nan"),
        ({"loss_scale": {"init_scale": float("inf")}}, "loss_scale's init_scale must be a positive number, not inf"),
        ({"loss_scale": {"init_scal": 2.0}}, "the key 'init_scal', .*did you mean 'init_scale'"),
        ({"loss_scale": {"mode": "static"}}, "it takes init_scale, growth_factor, backoff_factor, growth_interval"),
        ({"loss_scale": {"init_scale": 0}}, "loss_scale's init_scale must be a positive number, not 0"),
        ({"loss_scale": {"growth_factor": 1.0}}, "loss_scale's growth_factor must be a number above 1"),
        ({"loss_scale": {"backoff_factor": "x"}}, "loss_scale's backoff_factor must be a number between 0 and 1"),
        ({"loss_scale": {"growth_interval": 1.5}}, "loss_scale's growth_interval must be a positive integer"),
        ({"loss_scale": {"enabled": "no"}}, "loss_scale's enabled must be True or False, not 'no'"),
        ({"dtype": "fp61"}, "dtype must be 'fp16' or 'bf16', not 'fp61'; did you mean 'fp16'"),
        ({"dtype": torch.bfloat16}, "dtype must be 'fp16' or 'bf16', not torch.bfloat16"),
        ({"dtype": "bf16", "loss_scale": "dynamic"}, "needs no loss scaling: leave loss_scale='dynamic' out"),
        ({"coalesce": 1}, "coalesce must be True or False, not 1"),
        ({"distributed": "yes"}, "distributed must be True or False"),
        ({"bucket_size_mb": "25"}, "bucket_size_mb must be a number of MB"),
        ({"bucket_size_mb": True}, "bucket_size_mb must be a number of MB"),
        ({"grad_clip": 35}, "grad_clip must be a dict"),
        ({"detect_anomalous_params": 1}, "detect_anomalous_params must be"),
    ],
)
@pytest.mark.parametrize("make", [Fp16OptimizerHook, GradientCumulativeFp16OptimizerHook])
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_an_error_in_a_step_does_not_keep_the_next_run_from_stepping(make_runner, make_model, batches):
    model = make_model()
    runner = make_runner(model=model, max_epochs=1)
    runner.register_training_hooks(
        {"policy": "fixed"}, {"type": "Fp16OptimizerHook", "grad_clip": {"max_norm": 1.0, "error_if_nonfinite": True}}
    )
    broken = [{**batches[0], "x": batches[0]["x"] * float("nan")}]
    with pytest.raises(RuntimeError, match="non-finite"):
        runner.run([broken], [("train", 1)])
    before = model.first.weight.detach().clone()
    runner.run([batches], [("train", 1)])
    assert not model.first.weight.equal(before)
