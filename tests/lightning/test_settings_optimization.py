"""Settings that would change the numbers: accumulation, clipping, precision, compilation."""

import copy
import pickle
import re

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from mmhooks import CheckpointHook, ConfigError, EMAHook, Hook, HookError, OptimizerHook
from mmhooks.checkpoint import read_checkpoint
from mmhooks_lightning import HookedModule


def named(value):
    """Name a case without the address of an object: every process of the suite must give it the same name."""
    return re.sub(r" object at 0x\w+", "", str(value))


VAL = {"workflow": [("train", 4), ("val", 2)]}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"gradient_clip_val": 0.5}, "grad_clip=dict\\(max_norm=0.5"),
        ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}, "norm_type='inf'"),
        ({"gradient_clip_algorithm": "norm"}, "gradient_clip_algorithm='norm'\\) has no effect"),
        ({"accumulate_grad_batches": 2}, "GradientCumulativeOptimizerHook\\(cumulative_iters=2"),
        ({"callbacks": [GradientAccumulationScheduler({0: 2})]}, "use GradientCumulativeOptimizerHook"),
    ],
    ids=named,
)
def test_what_a_hooked_module_cannot_use(kit, by_epoch, settings, says):
    one = kit.setup("hooked", by_epoch, **settings)
    with pytest.raises(ConfigError, match=says):
        one.trainer.fit(one.module, kit.loader)
    assert one.points.seen == []


@pytest.mark.parametrize(("settings", "steps"), [
    ({"accumulate_grad_batches": 2}, (6, 7)),
    ({"callbacks": [GradientAccumulationScheduler({0: 5})]}, (2, 2)),
    ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}, (10, 12)),
], ids=named)  # fmt: skip
def test_what_lightning_does_for_an_ordinary_module(kit, by_epoch, settings, steps):
    """Hooks change none of it: the weights are those of the same fit without them."""
    one = kit.setup("ordinary", by_epoch, **settings)
    one.trainer.fit(one.module, kit.loader)
    assert one.trainer.global_step == steps[not by_epoch]
    if by_epoch:
        torch.manual_seed(0)
        alone = kit.Lit()
        rest = {name: value for name, value in settings.items() if name != "callbacks"}
        kit.trainer(*settings.get("callbacks", []), **rest).fit(alone, kit.loader)
        assert torch.equal(alone.net.weight, one.module.net.weight)


# precision ---------------------------------------------------------------------------------------------------

PRECISIONS = {
    "32-true": torch.float32, "64-true": torch.float64, "16-true": torch.float16, "bf16-true": torch.bfloat16,
    "bf16-mixed": torch.float32, "16-mixed": torch.float32,
}  # fmt: skip


class See(Hook):
    """Sees in which precision hooks work."""

    def __init__(self):
        self.seen = set()

    def after_train_iter(self, runner):
        x = torch.ones(2, 2)
        self.seen.add((torch.get_default_dtype(), torch.is_autocast_enabled("cpu"), (x @ x).dtype))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(kit, kind, by_epoch, precision):
    """The weights are of the precision; what hooks make and compute is of none, and averages are as the weights."""
    hooks = [see := See(), EMAHook(momentum=0.5), CheckpointHook(by_epoch=by_epoch)]
    one = kit.setup(kind, by_epoch, hooks, bridge={} if by_epoch else VAL, precision=precision)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert see.seen == {(torch.float32, False, torch.float32)}
    state = read_checkpoint(kit.folder / "mmhooks" / "latest.pth")["state_dict"]
    assert {value.dtype for value in state.values()} == {PRECISIONS[precision]}
    assert not torch.equal(state["net.weight"], state["ema_net_weight"])


def test_precision_of_double_is_that_of_a_native_run(kit):
    """Trainer(precision="64-true") gives the weights of model.double() and batches of doubles."""
    one = kit.setup("hooked", precision="64-true")
    torch.manual_seed(0)
    native = kit.Model().double()
    optimizer = torch.optim.SGD(native.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in kit.loader:
            optimizer.zero_grad()
            native.train_step((x.double(), y))["loss"].backward()
            optimizer.step()
    torch.manual_seed(0)
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
    one.trainer.fit(module, kit.loader)
    assert torch.equal(module.model.net.weight, native.net.weight)


def test_clipping_scaled_gradients_is_refused_before_training(kit):
    scaler = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
    one = kit.setup("ordinary", hooks=[OptimizerHook({"max_norm": 1})], module=module, plugins=[scaler])
    with pytest.raises(HookError, match="would clip scaled gradients"):
        one.trainer.fit(module, kit.loader)
    assert one.points.seen == []


# compilation -------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x):
        return self.net(x)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data[0])}

    val_step = train_step


class Graphs:
    """A backend that counts what is compiled."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_a_compiled_model_in_a_hooked_module(kit, by_epoch, way):
    """Its calls are compiled, the hooks are not, and names and numbers are the model's own."""

    def fit(prepare):
        torch.manual_seed(0)
        module = HookedModule(prepare(Net()), {"type": "SGD", "lr": 0.1})
        hooks = [OptimizerHook(), (EMAHook(momentum=0.5), "HIGH"), CheckpointHook(by_epoch=by_epoch)]
        one = kit.setup("ordinary", by_epoch, hooks, module=module, bridge={} if by_epoch else VAL)
        one.trainer.fit(module, kit.loader, kit.loader)
        assert one.runner.model_name == "Net"
        return read_checkpoint(kit.folder / "mmhooks" / "latest.pth")["state_dict"]

    def compile_it(model):
        if way == "wrapped":
            return torch.compile(model, backend=graphs)
        model.compile(backend=graphs)
        return model

    graphs = Graphs()
    compiled, eager = fit(compile_it), fit(lambda model: model)
    assert graphs.graphs > 0
    assert set(compiled) == {"net.weight", "net.bias", "ema_net_weight", "ema_net_bias"}
    assert all(torch.equal(compiled[name], eager[name]) for name in eager)


def test_a_compiled_hooked_module_is_refused(kit):
    module = HookedModule(Net(), {"type": "SGD", "lr": 0.1})
    in_place = HookedModule(Net(), {"type": "SGD", "lr": 0.1})
    in_place.compile(backend="eager")
    for compiled in (torch.compile(module, backend="eager"), in_place):
        one = kit.setup("hooked")
        with pytest.raises(ConfigError, match=r"HookedModule\(torch\.compile\(model\)\)"):
            one.trainer.fit(compiled, kit.loader)


def test_a_compiled_ordinary_module(kit, by_epoch):
    graphs, module = Graphs(), kit.Lit()
    one = kit.setup("ordinary", by_epoch, [EMAHook(), CheckpointHook(by_epoch=by_epoch)])
    one.trainer.fit(torch.compile(module, backend=graphs), kit.loader)
    assert graphs.graphs > 0
    assert one.points.names()[-1] == "after_run"
    state = read_checkpoint(kit.folder / "mmhooks" / "latest.pth")["state_dict"]
    assert set(state) == {"net.weight", "net.bias", "ema_net_weight", "ema_net_bias"}


# copies ------------------------------------------------------------------------------------------------------


def test_a_module_may_be_copied_during_a_fit(kit, kind):
    """Averages of whole models copy or pickle the module; that takes no Trainer along, and the copy is in no run."""

    class Copy(Hook):
        copies: tuple[nn.Module, ...] = ()

        def after_train_iter(self, runner):
            self.copies = (copy.deepcopy(runner.module), pickle.loads(pickle.dumps(runner.module)))

    one = kit.setup(kind, hooks=[made := Copy()])
    one.trainer.fit(one.module, kit.loader)
    for other in made.copies:
        other.load_state_dict(one.module.state_dict())
        assert b"Runner" not in pickle.dumps(other)
        with pytest.raises(RuntimeError, match="Unexpected key"):
            other.load_state_dict({**other.state_dict(), "ema_net_weight": torch.zeros(1)})


def test_a_callback_may_be_copied(kit):
    one = kit.setup("hooked", hooks=[EMAHook(), CheckpointHook(interval=1)])
    for other in (copy.deepcopy(one.bridge), pickle.loads(pickle.dumps(one.bridge))):
        assert [type(hook) for hook in other.hooks] == [type(hook) for hook in one.bridge.hooks]
        assert other.hooks[0] is not one.bridge.hooks[0]
        assert other.hooks is other.runner.hooks
        kit.trainer(other).fit(HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1}), kit.loader)
        assert (kit.folder / "mmhooks" / "epoch_2.pth").exists()


def test_stochastic_weight_averaging(kit, kind):
    one = kit.setup(kind, callbacks=[StochasticWeightAveraging(1e-2, 1)], max_epochs=4)
    one.trainer.fit(one.module, kit.loader)
    assert one.points.names()[-1] == "after_run"
    assert one.points.count("after_train_epoch") == 4
