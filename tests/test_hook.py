import pytest

from mmhooks import Hook, IterBasedRunner
from mmhooks.hook import POINTS

ALWAYS = list(range(12))


@pytest.mark.parametrize(
    ("question", "n", "yes"),
    [
        ("every_n_iters", 5, [4, 9]),
        ("every_n_iters", 1, ALWAYS),
        ("every_n_iters", 0, []),
        ("every_n_iters", -1, []),
        ("every_n_inner_iters", 3, [2, 6, 10]),
        ("every_n_inner_iters", 0, []),
        ("every_n_epochs", 2, [4, 5, 6, 7]),
        ("every_n_epochs", -2, []),
        ("end_of_epoch", None, [3, 7, 11]),
        ("is_last_epoch", None, [8, 9, 10, 11]),
        ("is_last_iter", None, [11]),
    ],
)
def test_when_in_three_epochs_of_four(make_runner, batches, question, n, yes):
    seen = []

    class Asking(Hook):
        def after_train_iter(self, runner):
            arguments = (runner,) if n is None else (runner, n)
            if getattr(self, question)(*arguments):
                seen.append(runner.iter)

    runner = make_runner(max_epochs=3)
    runner.register_hook(Asking())
    runner.run([batches], [("train", 1)])
    assert seen == yes


def test_last_iteration_of_an_iteration_based_run(make_runner, batches, at):
    seen = []
    runner = make_runner(IterBasedRunner, max_iters=6)
    runner.register_hook(at(after_train_iter=lambda runner: seen.append(Hook().is_last_iter(runner))))
    runner.run([batches], [("train", 1)])
    assert seen == [False] * 5 + [True]


class Nothing(Hook):
    pass


class OnePoint(Hook):
    def after_run(self, runner): ...


class Generic(Hook):
    def before_iter(self, runner): ...
    def after_epoch(self, runner): ...


class Both(Hook):
    def before_epoch(self, runner): ...
    def before_train_epoch(self, runner): ...


class Below(OnePoint):
    def before_run(self, runner): ...


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        (Nothing, []),
        (OnePoint, ["after_run"]),
        (Generic, ["before_train_iter", "after_train_epoch", "before_val_iter", "after_val_epoch"]),
        (Both, ["before_train_epoch", "before_val_epoch"]),
        (Below, ["before_run", "after_run"]),
    ],
)
def test_triggered_stages(kind, points):
    assert kind().get_triggered_stages() == points


def test_a_method_on_the_instance_is_a_triggered_stage():
    hook = Nothing()
    hook.after_val_iter = lambda runner: None
    assert hook.get_triggered_stages() == ["after_val_iter"]


def test_the_base_goes_on_to_the_generic_method():
    called = []

    class Mixed(Hook):
        def before_train_iter(self, runner):
            called.append("train")
            super().before_train_iter(runner)

        def before_iter(self, runner):
            called.append("any")

    Mixed().before_train_iter(None)
    Mixed().before_val_iter(None)
    assert called == ["train", "any", "any"]


def test_stages_are_the_ten_points():
    assert Hook.stages == POINTS
    assert len(POINTS) == 10
