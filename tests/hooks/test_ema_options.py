"""The right-number options of EMAHook by their meaning, its swap in iteration-based runs, and what tensors it takes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import CheckpointHook, ConfigError, EMAHook, EpochBasedRunner, EvalHook, HookError, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks.hooks.averages import Averages, swap

TRAIN = [("train", 1)]


def raw(runner):
    return {name: p.detach().clone() for name, p in runner.model.named_parameters()}


def buffers(runner):
    return {name: b.detach().clone() for name, b in runner.model.named_buffers() if name.startswith("ema_")}


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


# what an update weighs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "updates"), [(2, [1, 3, 5, 7]), (3, [2, 5])])
def test_compound_moves_as_single_updates_with_the_same_parameters_would(make_runner, batches, at, interval, updates):
    averages, seen, expected = {}, [], {}

    def follow(runner):
        now = buffers(runner)
        if not same(now, averages):
            seen.append(runner.iter)
            if expected == {}:
                values = raw(runner)
                for name, value in averages.items():
                    parameter = next(v for n, v in values.items() if f"ema_{n.replace('.', '_')}" == name).double()
                    average = value.double()
                    for _ in range(interval):
                        average = average * 0.9 + parameter * 0.1
                    expected[name] = average
                assert all(torch.allclose(now[n].double(), e, rtol=1e-5, atol=1e-7) for n, e in expected.items())
        averages.update(now)

    runner = make_runner(IterBasedRunner, max_iters=8)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1, interval, warm_up=1, interval_mode="compound"), "ABOVE_NORMAL")
    runner.register_hook(at(before_run=lambda r: averages.update(buffers(r)), after_train_iter=follow))
    runner.run([batches], TRAIN)
    assert seen == updates
    assert expected


def test_compound_weights_are_far_from_mmcvs():
    right, theirs = EMAHook(0.01, 10, interval_mode="compound"), EMAHook(0.01, 10)
    assert right.weight(99_999) == pytest.approx(1 - 0.99**10)
    assert theirs.weight(99_999) == 0.01**10


def test_a_falling_warm_up_begins_with_the_parameters_and_ends_at_the_momentum():
    hook = EMAHook(0.001, warm_up=10, warm_up_mode="falling")
    weights = [hook.weight(step) for step in range(20_000)]
    assert weights[0] == 0.9
    assert weights == sorted(weights, reverse=True)
    assert weights[90] == pytest.approx(9 / 100)  # the decay is the cap (1 + t) / (10 + t)
    assert 1 - weights[90] == pytest.approx((1 + 90) / (10 + 90))
    assert weights[8991] == 0.001 < weights[8989]
    assert all(EMAHook(0.001, warm_up=10).weight(step) == 0.001 for step in (0, 5, 5000))  # MMCV's is inert
    assert EMAHook(0.5, warm_up=10).weight(0) == 0.1


def test_a_falling_warm_up_forgets_the_initial_parameters():
    """What is left of them after t updates is the product of the decays, t! / ((w + t - 1)! / (w - 1)!)."""
    hook = EMAHook(0.0002, warm_up=10, warm_up_mode="falling")
    left = math.prod(1 - hook.weight(step) for step in range(100))
    assert left == pytest.approx(1 / math.comb(109, 9), rel=1e-6)


def test_compound_and_falling_together_are_the_single_updates_together():
    single = EMAHook(0.01, warm_up=20, warm_up_mode="falling")
    every = EMAHook(0.01, 4, warm_up=20, interval_mode="compound", warm_up_mode="falling")
    assert 1 - every.weight(7) == pytest.approx(math.prod(1 - single.weight(step) for step in (4, 5, 6, 7)))


def test_fused_is_the_same_average_but_for_rounding(make_runner, batches):
    results = []
    for fused in (False, True):
        runner = make_runner(max_epochs=3)
        runner.register_optimizer_hook({})
        runner.register_hook(EMAHook(0.1, fused=fused), "ABOVE_NORMAL")
        runner.run([batches], TRAIN)
        results.append(raw(runner))
    assert all(torch.allclose(a, results[1][n], rtol=1e-5, atol=1e-7) for n, a in results[0].items())
    assert not same(raw(make_runner()), results[1])


# swapping in iteration-based runs -----------------------------------------------------------------------------


def test_what_follows_sees_the_averages_and_training_the_raw_weights(make_runner, batches, at):
    plain, trained, shown, files = make_runner(IterBasedRunner, max_iters=11), [], [], []
    reference = []
    plain.register_optimizer_hook({})
    plain.register_hook(at(before_train_iter=lambda r: reference.append(raw(r))), "VERY_LOW")
    plain.run([batches], TRAIN)

    runner = make_runner(IterBasedRunner, max_iters=11)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1, swap_interval=4), "ABOVE_NORMAL")
    runner.register_hook(CheckpointHook(4, by_epoch=False))
    runner.register_hook(
        at(
            before_train_iter=lambda r: trained.append(raw(r)),
            after_train_iter=lambda r: files.append((r.iter + 1, raw(r), buffers(r))),
            before_val_iter=lambda r: shown.append((r.iter, raw(r))),
        ),
        "VERY_LOW",
    )
    runner.run([batches, batches], [("train", 4), ("val", 1)])

    assert all(same(a, b) for a, b in zip(reference, trained, strict=True))
    swapped = {count for count, own, averages in files if not same(own, plain_after(reference, count, plain))}
    assert swapped == {4, 8, 11}
    for count, own in shown:
        assert same(own, next(own for c, own, _ in files if c == count))
    assert [count for count, _ in shown] == [4, 8, 11]
    state = read_checkpoint(runner.work_dir + "/iter_8.pth")["state_dict"]
    _, own, averages = files[7]
    assert all(torch.equal(state[name], value) for name, value in {**own, **averages}.items())
    assert same(raw(runner), files[-1][1])  # the averages stay


def plain_after(reference, count, plain):
    return reference[count] if count < len(reference) else raw(plain)


def test_a_stopped_run_ends_with_the_averages(make_runner, batches, at):
    runner = make_runner(IterBasedRunner, max_iters=50)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1, swap_interval=20), "ABOVE_NORMAL")
    last = []
    runner.register_hook(
        at(after_train_iter=lambda r: r.iter == 6 and (last.append((raw(r), buffers(r))), r.stop("enough")))
    )
    runner.run([batches], TRAIN)
    own, averages = last[0]
    assert same(raw(runner), averages)
    assert same(buffers(runner), own)


def test_an_epoch_based_run_swaps_between_too(make_runner, batches, at):
    seen = []
    runner = make_runner(max_epochs=2)
    runner.register_optimizer_hook({})
    hook = EMAHook(0.1, swap_interval=3)
    runner.register_hook(hook, "ABOVE_NORMAL")
    runner.register_hook(
        at(
            after_train_iter=lambda r: seen.append(hook.state_dict()["swapped"]),
            after_train_epoch=lambda r: seen.append(hook.state_dict()["swapped"]),
        )
    )
    runner.run([batches], TRAIN)
    assert seen == [False, False, True, False, True, False, True, False, True, True]


@pytest.mark.parametrize("count", [4, 5, 8], ids=["swapped", "raw", "swapped at the end of a pass"])
@pytest.mark.parametrize("resume_swap", [4, 3, None])
def test_a_file_resumes_exactly_whatever_it_was_saved_as(make_runner, batches, tmp_path, count, resume_swap):
    def train(folder, until, swap, resume=None):
        runner = make_runner(IterBasedRunner, max_iters=until, work_dir=tmp_path / folder)
        runner.register_optimizer_hook({})
        runner.register_hook(EMAHook(0.1, swap_interval=swap), "ABOVE_NORMAL")
        runner.register_hook(CheckpointHook(1, by_epoch=False))
        if resume:
            runner.resume(resume)
        # one batch: a resumed run begins the loader anew
        runner.run([batches[:1]], TRAIN)
        own, averages = raw(runner), buffers(runner)
        return (own, averages) if swap is None else (averages, own)

    whole = train("whole", 12, 4)
    resumed = train("resumed", 12, resume_swap, tmp_path / "whole" / f"iter_{count}.pth")
    assert all(torch.equal(a, b) for a, b in zip(whole[0].values(), resumed[0].values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole[1].values(), resumed[1].values(), strict=True))


def test_a_file_from_the_middle_of_an_epoch_holds_raw_weights_and_is_resumed_so(make_runner, batches, tmp_path, at):
    runner = make_runner(max_epochs=2)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    seen = []

    def save(r):
        if r.iter == 5:
            seen.append(raw(r))
            r.save_checkpoint(str(tmp_path), filename_tmpl="middle_{}.pth")

    runner.register_hook(at(after_train_iter=save))
    runner.run([batches], TRAIN)

    resumed = make_runner(max_epochs=3)
    resumed.register_hook(EMAHook(0.1), "ABOVE_NORMAL")
    resumed.register_hook(at(before_train_iter=lambda r: seen.append(raw(r))))
    resumed.resume(tmp_path / "middle_2.pth")
    resumed.run([batches], TRAIN)
    assert same(seen[0], seen[1])


def test_evaluation_by_iteration_sees_the_averages(make_runner, batches, at):
    scores = []

    class Data(list):
        def evaluate(self, results, logger=None):
            return {"acc": 1.0}

    class Loader(list):
        dataset = Data()

    def test(model, loader):
        scores.append({n: p.detach().clone() for n, p in model.named_parameters()})
        return []

    runner = make_runner(IterBasedRunner, max_iters=4)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.1, swap_interval=2), "ABOVE_NORMAL")
    runner.register_hook(EvalHook(Loader(batches), interval=2, by_epoch=False, test_fn=test), "LOW")
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 3 and scores.append(raw(r))), "VERY_LOW")
    runner.run([batches], TRAIN)
    assert len(scores) == 3
    assert same(scores[1], scores[2])
    assert same(scores[1], raw(runner))


def test_a_run_that_never_swaps_says_so(make_runner, batches, caplog):
    for every, said in ((None, True), (2, False)):
        caplog.clear()
        runner = make_runner(IterBasedRunner, max_iters=1)
        runner.register_hook(EMAHook(swap_interval=every))
        runner.run([batches], TRAIN)
        assert ("give it a swap_interval" in caplog.text) is said


def test_only_a_hook_that_swaps_is_called_before_an_iteration(make_runner, batches):
    assert "before_train_iter" not in EMAHook().get_triggered_stages()
    assert {"before_train_iter", "after_run"} <= set(EMAHook(swap_interval=2).get_triggered_stages())


# tensors ------------------------------------------------------------------------------------------------------

KINDS = {
    "one large and many small": lambda: [torch.randn(1_300_001), *(torch.randn(n) for n in range(1, 40))],
    "half": lambda: [torch.randn(701).half(), torch.randn(600_000).half()],
    "bfloat16": lambda: [torch.randn(701).bfloat16(), torch.randn(33, 5).bfloat16()],
    "double and complex": lambda: [torch.randn(701).double(), torch.randn(300_001).double(), torch.randn(7, 9) + 2j],
    "mixed dtypes": lambda: [torch.randn(5), torch.randn(6).double(), torch.randn(7), torch.randn(8).half()],
    "channels last": lambda: [torch.randn(8, 16, 3, 3).to(memory_format=torch.channels_last)],
    "transposed": lambda: [torch.randn(300, 701).t()],
    "with gaps": lambda: [torch.randn(30, 80)[:, ::2], torch.randn(4)],
    "scalar and empty": lambda: [torch.randn(()), torch.randn(0), torch.randn(3, 0, 2), torch.randn(2)],
}


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_mmcvs_bit_for_bit_and_swaps_exchange_values(kind, held):
    torch.manual_seed(0)
    parameters = [nn.Parameter(tensor) for tensor in KINDS[kind]()]
    averages = [torch.randn_like(p) for p in parameters]
    reference = [a.clone() for a in averages]
    pairs = Averages(parameters, averages)
    for momentum in (0.0002, 0.3, 1e-9, 0.999):
        pairs.update(momentum)
        for parameter, average in zip(parameters, reference, strict=True):
            average.mul_(1 - momentum).add_(parameter.data, alpha=momentum)
    assert all(map(torch.equal, averages, reference))
    before = [p.detach().clone() for p in parameters]
    views = [t.detach() for t in (*parameters, *averages)] if held else []
    places = [t.data_ptr() for t in (*parameters, *averages)]
    pairs = None  # its views hold the memory
    swap(parameters, averages)
    assert all(map(torch.equal, parameters, reference))
    assert all(map(torch.equal, averages, before))
    if held:
        assert places == [t.data_ptr() for t in (*parameters, *averages)]
        assert all(map(torch.equal, views, (*parameters, *averages)))
    Averages(parameters, averages).lerp(0.5)
    close = [torch.allclose(a, b + 0.5 * (p - b), rtol=2e-2, atol=2e-2)
             for a, b, p in zip(averages, before, parameters, strict=True)]  # fmt: skip
    assert all(close)


HOLDERS = {
    "a detached view": lambda p: p.detach(),
    "a part of it": lambda p: p.data[3:5],
    "an array": lambda p: p.detach().numpy(),
    "the storage": lambda p: p.untyped_storage(),
    "another parameter": lambda p: nn.Parameter(p.data),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_memory_that_somebody_holds_is_not_traded(kind):
    """And that of the tensors beside it is."""
    held, free = nn.Parameter(torch.arange(10.0)), nn.Parameter(torch.arange(10.0))
    averages = [torch.full((10,), -1.0), torch.full((10,), -2.0)]
    holder = HOLDERS[kind](held)
    places = [t.data_ptr() for t in (held, free, *averages)]
    swap([held, free], averages)
    assert held.tolist() == [-1.0] * 10
    assert free.tolist() == [-2.0] * 10
    assert [average.tolist() for average in averages] == [list(range(10))] * 2
    now = [t.data_ptr() for t in (held, free, *averages)]
    assert now == [places[0], places[3], places[2], places[1]]
    seen = torch.empty(0).set_(holder) if isinstance(holder, torch.UntypedStorage) else torch.as_tensor(holder)
    assert (seen == -1).all()


def test_memory_of_an_array_or_of_another_process_is_not_traded():
    array = np.arange(4, dtype=np.float32)
    parameters = [nn.Parameter(torch.from_numpy(array)), nn.Parameter(torch.arange(4.0).share_memory_())]
    averages = [torch.full((4,), -1.0), torch.full((4,), -2.0)]
    places = [t.data_ptr() for t in parameters]
    swap(parameters, averages)
    assert [t.data_ptr() for t in parameters] == places
    assert array.tolist() == [-1.0] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_same_on_a_gpu(dtype):
    parameters = [nn.Parameter(torch.randn(n, device="cuda", dtype=dtype)) for n in (3, 70_000, 9_000_001)]
    averages = [torch.randn_like(p) for p in parameters]
    reference, before = [a.clone() for a in averages], [p.detach().clone() for p in parameters]
    pairs = Averages(parameters, averages)
    pairs.update(0.1)
    for parameter, average in zip(parameters, reference, strict=True):
        average.mul_(0.9).add_(parameter.data, alpha=0.1)
    for ours, theirs in zip(averages, reference, strict=True):
        torch.testing.assert_close(ours, theirs)
    after = [a.clone() for a in averages]
    swap(parameters, averages)
    assert all(map(torch.equal, parameters, after))
    assert all(map(torch.equal, averages, before))


def test_integers_follow_and_dtypes_that_differ_are_averaged_one_by_one():
    counter, average = torch.tensor([5, 6]), torch.tensor([1, 2])
    low, high = torch.randn(9).half(), torch.randn(9)
    expected, kept = high.clone(), low.clone()
    pairs = Averages([counter, low], [average, high])
    pairs.update(0.25)
    expected.mul_(0.75).add_(low, alpha=0.25)
    assert average.tolist() == [5, 6]
    assert torch.equal(high, expected)
    counter.add_(1)
    pairs.lerp(0.25)
    assert average.tolist() == [6, 7]
    pairs.exchange()
    assert torch.equal(high, kept.float())


class Tied(nn.Module):
    """Two names for one parameter, a frozen one, and one that takes part in nothing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.counter = nn.Parameter(torch.tensor([3]), requires_grad=False)
        self.last = nn.Linear(3, 2)

    def train_step(self, data, optimizer=None, **kwargs):
        out = self.last(self.second(torch.tanh(self.first(data["x"])) + self.frozen))
        return {"loss": nn.functional.cross_entropy(out, data["y"])}


def test_shared_frozen_and_integer_parameters(make_runner, batches):
    runner = make_runner(model=Tied(), max_epochs=2)
    runner.register_optimizer_hook({})
    runner.register_hook(EMAHook(0.3), "ABOVE_NORMAL")
    runner.run([batches], TRAIN)
    names = set(dict(runner.model.named_buffers()))
    assert "ema_first_weight" in names
    assert "ema_second_weight" not in names
    assert runner.model.first.weight is runner.model.second.weight
    assert not torch.equal(runner.model.first.weight, runner.model.ema_first_weight)
    assert runner.model.ema_counter.tolist() == runner.model.counter.tolist() == [3]
    assert torch.allclose(runner.model.frozen, runner.model.ema_frozen)


def move_all(runner):
    if runner.iter == 2:
        runner.model.double().float()  # new memory for parameters and buffers


def move_one(runner):
    if runner.inner_iter == 3:
        runner.model.first.weight.data = runner.model.first.weight.data.clone()


def replace_one(runner):
    if runner.inner_iter == 3:
        runner.model.first.weight.data = torch.empty_like(runner.model.first.weight).copy_(runner.model.first.weight)
        runner.model.ema_last_bias = runner.model.ema_last_bias.clone()


@pytest.mark.parametrize("move", [move_all, move_one, replace_one])
def test_tensors_that_move_are_followed(make_runner, batches, at, move):
    results = []
    for mover in (lambda runner: None, move):
        runner = make_runner(max_epochs=3)
        runner.register_optimizer_hook({})
        runner.register_hook(EMAHook(0.3), "ABOVE_NORMAL")
        runner.register_hook(at(after_train_iter=mover), "LOW")
        runner.run([batches], TRAIN)
        results.append({**raw(runner), **buffers(runner)})
    assert same(*results)


def step_out_of_place(runner):
    for parameter in runner.model.last.parameters():  # the rest is frozen, and stays where it is
        parameter.data = parameter.data - 0.1 * torch.randn_like(parameter)


def step_a_new_view(runner):
    weight = runner.model.last.weight
    weight.data = torch.randn(weight.t().shape).t()


def step_half_of_them(runner):
    for index, parameter in enumerate(runner.model.parameters()):
        if index % 2 == runner.iter % 2:
            parameter.data = torch.randn_like(parameter)


@pytest.mark.parametrize("step", [step_out_of_place, step_a_new_view, step_half_of_them])
def test_parameters_whose_data_is_another_tensor_at_each_step(make_runner, batches, at, step):
    """The averages are those of MMCV's loop, which reads ``parameter.data`` at each update."""
    averages, seen = {}, []

    def follow(runner):
        momentum = min(0.3, (1 + runner.iter) / (5 + runner.iter))
        for name, parameter in runner.model.named_parameters():
            averages[name].mul_(1 - momentum).add_(parameter.data, alpha=momentum)
        seen.append(same(averages, buffers(runner)))

    torch.manual_seed(0)
    runner = make_runner(max_epochs=3)
    runner.model.first.requires_grad_(False)
    averages.update(raw(runner))
    runner.register_hook(at(after_train_iter=step), "HIGH")
    runner.register_hook(EMAHook(0.3, warm_up=5), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_iter=follow))
    runner.run([batches], TRAIN)
    assert seen == [True] * 12


def test_a_parameter_that_is_replaced_by_another_is_averaged(make_runner, batches, at):
    def replace(runner):
        layer = runner.model.last
        layer.weight = nn.Parameter(torch.full_like(layer.weight, float(runner.iter)))
        values.append(layer.weight.detach())

    values = []
    runner = make_runner(IterBasedRunner, max_iters=5)
    average = runner.model.last.weight.detach().clone()
    runner.register_hook(at(after_train_iter=replace), "HIGH")
    runner.register_hook(EMAHook(0.3, warm_up=1), "ABOVE_NORMAL")
    runner.run([batches], TRAIN)
    for value in values:
        average.mul_(0.7).add_(value, alpha=0.3)
    assert torch.equal(runner.model.ema_last_weight, average)


def test_parameters_that_are_the_models_own_to_name_are_averaged(make_runner, batches, at, make_model):
    class Renamed(type(make_model())):
        def named_parameters(self, *args, **kwargs):
            return ((f"own.{name}", parameter) for name, parameter in super().named_parameters(*args, **kwargs))

    runner = make_runner(model=Renamed(), max_epochs=1)
    runner.register_hook(at(after_train_iter=step_out_of_place), "HIGH")
    runner.register_hook(EMAHook(0.5, warm_up=1), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_epoch=lambda r: shown.append(r.model.last.weight.detach().clone())))
    shown = []
    runner.run([batches], TRAIN)
    assert torch.equal(shown[0], runner.model.last.weight)
    assert not torch.equal(runner.model.last.weight, runner.model.ema_own_last_weight)


def sharing(change):
    """Make a model of which ``change`` may let parameters share memory."""

    class Sharing(nn.Module):
        def __init__(self):
            super().__init__()
            change(self)

        def train_step(self, data, optimizer=None, **kwargs):
            return {}

    return Sharing()


def same_memory(model, size=6):
    model.one = nn.Parameter(torch.arange(float(size)))
    model.free = nn.Parameter(torch.ones(3))
    model.two = nn.Parameter(model.one.data)


def last_element(model):
    memory = torch.arange(6.0)
    model.two, model.one = nn.Parameter(memory[3:]), nn.Parameter(memory[:4])


def row_and_column(model):
    memory = torch.arange(12.0).view(3, 4)
    model.one, model.two = nn.Parameter(memory[0]), nn.Parameter(memory[:, 2])


def bytes_of_it(model):
    model.one = nn.Parameter(torch.arange(6.0))
    model.two = nn.Parameter(model.one.data.view(torch.bfloat16))


@pytest.mark.parametrize("change", [
    same_memory, lambda model: same_memory(model, 1_300_001), last_element, row_and_column, bytes_of_it,
])  # fmt: skip
@pytest.mark.parametrize("by_epoch", [True, False])
def test_parameters_that_share_memory_are_refused(batches, change, by_epoch):
    model = sharing(change)
    runner = EpochBasedRunner(model, max_epochs=1) if by_epoch else IterBasedRunner(model, max_iters=1)
    runner.register_hook(EMAHook(), "ABOVE_NORMAL")
    with pytest.raises(
        HookError, match=r"EMAHook cannot swap (one and two|two and one), two parameters with memory in"
    ):
        runner.run([batches], TRAIN)


def halves(model):
    memory = torch.arange(6.0)
    model.one, model.two = nn.Parameter(memory[:3]), nn.Parameter(memory[3:])


def columns(model):
    memory = torch.arange(12.0).view(4, 3)
    model.one, model.two = nn.Parameter(memory[:, 0]), nn.Parameter(memory[:, 1:])


@pytest.mark.parametrize("change", [halves, columns])
def test_parts_of_one_memory_that_do_not_meet_are_averaged(batches, at, change):
    model, shown = sharing(change), []
    runner = EpochBasedRunner(model, max_epochs=2)
    start = raw(runner)

    def add(runner):
        for parameter in runner.model.parameters():
            parameter.data.add_(4)

    runner.register_hook(at(after_train_iter=lambda r: r.inner_iter == 3 and add(r)), "HIGH")
    runner.register_hook(EMAHook(0.25, warm_up=1), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_epoch=lambda r: shown.append((raw(r), buffers(r)))))
    runner.run([batches], TRAIN)
    averages, parameters = shown[0]
    assert same(averages, {name: value + 1 for name, value in start.items()})
    assert same(parameters, {name: value + 4 for name, value in start.items()})
    assert same(shown[1][1], {name: value + 8 for name, value in start.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "first", nn.Identity()), r"first.weight of shape \(4, 3\), which is gone since"),
        (lambda m: setattr(m, "last", nn.Linear(4, 5)), r"last.weight of shape \(2, 4\), which has become \(5, 4\)"),
    ],
)
def test_parameters_that_change_under_way(make_runner, batches, at, change, message):
    runner = make_runner(max_epochs=2)
    runner.register_hook(EMAHook(), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_epoch=lambda r: change(r.model)))
    with pytest.raises(HookError, match=message):
        runner.run([batches], TRAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: setattr(layer, "bias", None), r"last.bias of shape \(2,\), which is gone since"),
        (lambda layer: delattr(layer, "bias"), r"last.bias of shape \(2,\), which is gone since"),
        (lambda layer: setattr(layer, "bias", nn.Parameter(torch.ones(3))), r"last.bias .* has become \(3,\) since"),
    ],
)
def test_parameters_that_change_between_updates(make_runner, batches, at, change, message):
    runner = make_runner(IterBasedRunner, max_iters=5)
    runner.register_hook(EMAHook(), "ABOVE_NORMAL")
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 1 and change(r.model.last)))
    runner.model.train_step = lambda *args, **kwargs: {}
    with pytest.raises(HookError, match=message):
        runner.run([batches], TRAIN)
    assert runner.iter == 2


def test_a_model_without_parameters(make_runner, batches):
    class Nothing(nn.Module):
        def train_step(self, data, optimizer=None, **kwargs):
            return {}

    runner = EpochBasedRunner(Nothing(), max_epochs=1)
    runner.register_hook(EMAHook())
    runner.run([batches], TRAIN)
    assert runner.iter == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": True}, "EMAHook's interval must be a positive integer, not True"),
        ({"swap_interval": 0}, "EMAHook's swap_interval must be a positive integer, or None .*, not 0"),
        ({"swap_interval": 1.5}, "EMAHook's swap_interval must be a positive integer, or None .*, not 1.5"),
        ({"momentum": "0.1"}, "EMAHook's momentum must be between 0 and 1, not '0.1'"),
        ({"warm_up": 0}, r"EMAHook's warm_up must be a number of at least 1 \(1: no warm-up\), not 0"),
        ({"warm_up": float("nan")}, "EMAHook's warm_up must be a number of at least 1"),
        ({"interval_mode": "compond"}, "interval_mode must be 'power' or 'compound', not 'compond'; did you mean"),
        ({"warm_up_mode": None}, "EMAHook's warm_up_mode must be 'rising' or 'falling', not None"),
        ({"warm_up": True}, "EMAHook's warm_up must be a number of at least 1"),
        ({"momentum": True}, "EMAHook's momentum must be between 0 and 1, not True"),
        ({"resume_from": 5}, "EMAHook's resume_from must be a path .* or None, not 5"),
        ({"fused": 1}, "EMAHook's fused must be True or False, not 1"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(ConfigError, match=message):
        EMAHook(**arguments)
