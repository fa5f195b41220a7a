"""auto_fp16, force_fp32 and wrap_fp16_model: what they cast, and under which autocast the method runs."""

import warnings
from collections import OrderedDict, defaultdict, namedtuple

import pytest
import torch
from torch import nn

from mmhooks import ConfigError, ModelError, auto_fp16, force_fp32, wrap_fp16_model
from mmhooks.amp import cast_tensor_type

HALF, BRAIN, FLOAT = torch.float16, torch.bfloat16, torch.float32
Pair = namedtuple("Pair", ["left", "right"])


def f32(*shape):
    return torch.ones(*shape)


def f16(*shape):
    return torch.ones(*shape, dtype=HALF)


class Block(nn.Module):
    """A module that tells what reaches its methods."""

    def __init__(self, enabled=True):
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.fp16_enabled = enabled

    @auto_fp16()
    def everything(self, x, y=None, *rest, flag=None, **others):
        return x, y, rest, flag, others, torch.is_autocast_enabled("cpu")

    @auto_fp16(apply_to=("y", "flag", "more"))
    def some(self, x, y=None, *, flag=None, **others):
        return x, y, flag, others

    @auto_fp16(apply_to="x", out_fp32=True)
    def back(self, x):
        return {"x": x, "out": self.net(x), "count": torch.tensor(1)}

    @force_fp32()
    def exact(self, x, y=None, *rest, flag=None):
        return x, y, rest, flag, torch.is_autocast_enabled("cpu")

    @force_fp32(apply_to=("y",), out_fp16=True)
    def narrowed(self, x, y):
        return [x.dtype, y.dtype, y]

    @auto_fp16()
    @force_fp32(apply_to=("x",))
    def both(self, x, y):
        return x.dtype, y.dtype

    @auto_fp16(apply_to=("x",))
    def calls_exact(self, x):
        outer = self.net(x)
        return outer, self.exact(outer)


def kinds(value):
    """Replace tensors by their types."""
    if isinstance(value, torch.Tensor):
        return value.dtype
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [kinds(item) for item in value]
    return value


def test_what_can_be_given_by_position_is_cast():
    block = Block()
    assert kinds(block.everything(f32(1), f32(1), f32(1), flag=f32(1), more=f32(1))) == [
        HALF,
        HALF,
        [FLOAT],  # what *args collects, keyword-only arguments and **kwargs are not
        FLOAT,
        {"more": FLOAT},
        True,
    ]
    assert kinds(block.everything(x=f32(1), y=f32(1)))[:2] == [HALF, HALF]


def test_named_arguments_are_cast():
    block = Block()
    assert kinds(block.some(f32(1), f32(1), flag=f32(1), more=f32(1), other=f32(1))) == [
        FLOAT,
        HALF,
        HALF,
        {"more": HALF, "other": FLOAT},
    ]
    assert kinds(block.some(y=f32(1), x=f32(1)))[:2] == [FLOAT, HALF]


def test_results_are_cast_back():
    result = Block().back(f32(1, 2))
    assert kinds(result) == {"x": FLOAT, "out": FLOAT, "count": torch.int64}
    assert torch.equal(result["out"], result["out"].half().float())  # computed in fp16


def test_exact_methods():
    block = Block()
    assert kinds(block.exact(f16(1), f32(1), f16(1), flag=f16(1))) == [FLOAT, FLOAT, [HALF], HALF, False]
    assert kinds(block.narrowed(f16(1), f16(1))) == [HALF, FLOAT, HALF]
    outer, inner = block.calls_exact(f32(1, 2))
    assert outer.dtype == HALF
    assert kinds(inner)[0] == FLOAT
    assert inner[-1] is False  # autocast is off inside
    assert block.both(f32(1), f32(1)) == (FLOAT, HALF)


@pytest.mark.parametrize("block", [Block(enabled=False), Block(enabled=None)])
def test_nothing_happens_until_it_is_enabled(block):
    x = f32(1)
    assert block.everything(x)[0] is x
    assert block.everything(x)[-1] is False
    assert block.exact(f16(1))[0].dtype == HALF
    del block.fp16_enabled
    assert block.everything(x)[0] is x


def test_containers_are_walked():
    given = {
        "list": [f32(1), {"deep": (f32(1), 3)}],
        "pair": Pair(f32(1), "word"),
        "ordered": OrderedDict(a=f32(1)),
        "default": defaultdict(list, a=f32(1)),
        "set": {3, 4},
        "kept": [torch.ones(1, dtype=torch.int32), torch.ones(1, dtype=torch.float64), None, "text", range(2)],
        "module": nn.Linear(1, 1),
    }
    cast = cast_tensor_type(given, FLOAT, HALF)
    assert kinds(cast["list"]) == [HALF, {"deep": [HALF, 3]}]
    assert type(cast["pair"]) is Pair
    assert kinds(cast["pair"]) == [HALF, "word"]
    assert type(cast["ordered"]) is OrderedDict
    assert cast["ordered"]["a"].dtype == cast["default"]["a"].dtype == HALF
    assert cast["set"] == {3, 4}
    assert kinds(cast["kept"]) == [torch.int32, torch.float64, None, "text", range(2)]
    assert cast["module"] is given["module"]
    assert cast["module"].weight.dtype == FLOAT
    assert given["list"][0].dtype == FLOAT  # what was given stays as it was


def test_wrapping_switches_modules_on():
    model = nn.Sequential(Block(enabled=False), nn.Linear(2, 2), nn.Sequential(Block(enabled=False)))
    wrap_fp16_model(model)
    assert model[0].fp16_enabled is model[2][0].fp16_enabled is True
    assert not hasattr(model[1], "fp16_enabled")
    assert model[0].net.weight.dtype == FLOAT
    assert model[0].everything(f32(1))[0].dtype == HALF


def test_bf16():
    block = Block(enabled=False)
    wrap_fp16_model(block, dtype="bf16")
    assert block.everything(f32(1))[0].dtype == BRAIN
    assert block.calls_exact(f32(1, 2))[0].dtype == BRAIN
    assert block.exact(torch.ones(1, dtype=BRAIN))[0].dtype == FLOAT
    assert block.back(f32(1, 2))["out"].dtype == FLOAT
    wrap_fp16_model(block)
    assert block.everything(f32(1))[0].dtype == HALF


def test_gradients_flow_through_the_casts():
    block = Block()
    x = f32(1, 2).requires_grad_()
    block.back(x)["out"].sum().backward()
    assert x.grad.dtype == block.net.weight.grad.dtype == FLOAT


class Transform:
    """No module, and it has no parameters to tell the device by."""

    fp16_enabled = True

    @auto_fp16(supported_types=object)
    def __call__(self, batch):
        return batch[0]["x"].dtype, torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def test_other_classes_may_be_supported():
    assert Transform()([{"x": f32(1)}]) == (HALF, True, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_found_by_the_parameters_or_the_tensors():
    block = Block().cuda()
    assert block.calls_exact(f32(1, 2).cuda())[0].dtype == HALF
    assert Transform()([{"x": f32(1).cuda()}]) == (HALF, False, True)


class Stranger:
    fp16_enabled = True
    everything = Block.everything
    exact = Block.exact


@pytest.mark.parametrize(("name", "method"), [("auto_fp16", "everything"), ("force_fp32", "exact")])
def test_a_class_that_is_not_supported(name, method):
    with pytest.raises(
        ModelError, match=rf"@{name} decorates methods of Module, and .*{method} was called on Stranger"
    ):
        getattr(Stranger(), method)(1)


@pytest.mark.parametrize("wrong", [None, {"type": "Block"}, Block])
def test_only_a_model_is_wrapped(wrong):
    with pytest.raises(ModelError, match=r"wrap_fp16_model's model must be a torch\.nn\.Module, not "):
        wrap_fp16_model(wrong)


@pytest.mark.parametrize("decorator", [auto_fp16, force_fp32])
def test_bad_arguments(decorator):
    for wrong in (3, (3,), [None]):
        with pytest.raises(ConfigError, match=rf"{decorator.__name__}: apply_to takes argument names such as"):
            decorator(apply_to=wrong)
    with pytest.warns(UserWarning, match=r"apply_to names 'scroe', which is no argument of .*loss\(self, score\); did"):

        @decorator(apply_to=("scroe",))
        def loss(self, score): ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @decorator(apply_to=("anything",))
        def accepts(self, **kwargs): ...

    with pytest.raises(ConfigError, match="auto_fp16's out_fp32 must be True or False, not 1"):
        auto_fp16(out_fp32=1)
    with pytest.raises(ConfigError, match="force_fp32's out_fp16 must be True or False, not 'yes'"):
        force_fp32(out_fp16="yes")
    for wrong in ("Module", (nn.Module, "Module")):
        with pytest.raises(ConfigError, match="supported_types must be a class or a tuple of them"):
            auto_fp16(supported_types=wrong)
    with pytest.raises(ConfigError, match="dtype must be 'fp16' or 'bf16', not 'half'"):
        wrap_fp16_model(Block(), dtype="half")
