"""Who is called, in which order."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks import BaseRunner, ConfigError, Hook, HookError
from mmhooks.dispatch import CallTable
from mmhooks.hook import POINTS, when


class Named(Hook):
    def __init__(self, name, calls, then=None):
        self.name, self.calls, self.then = name, calls, then

    def before_run(self, runner):
        self.calls.append(self.name)
        if self.then is not None:
            then, self.then = self.then, None
            then()


class Caller(BaseRunner):
    def __init__(self, table, point):
        self.call_table, self.point = table, point
        self._hook_states = {}


def call(table, point):
    Caller(table, point).call_hook(point)


def foreign_base():
    """A base class such as the real mmcv's: another class of that name, with all methods empty."""
    names = (*POINTS, "before_epoch", "after_epoch", "before_iter", "after_iter")
    return type("Hook", (), {name: lambda self, runner: pytest.fail("the base was called") for name in names})


@pytest.fixture
def calls():
    return []


@pytest.fixture
def table():
    return CallTable()


def test_only_overridden_methods_are_called(table):
    class Two(Hook):
        def before_run(self, runner): ...
        def after_train_iter(self, runner): ...

    hook = Two()
    table.add(hook)
    assert [point for point in POINTS if table.owners(point)] == ["before_run", "after_train_iter"]
    assert table.owners("before_run") == (hook,)


def test_a_generic_method_serves_its_points(table, calls):
    class Generic(Hook):
        def before_iter(self, runner):
            calls.append(runner.point)

    table.add(Generic())
    for point in POINTS:
        call(table, point)
    assert calls == ["before_train_iter", "before_val_iter"]


def test_a_method_set_on_the_instance_is_called(table, calls):
    hook = Hook()
    hook.after_run = lambda runner: calls.append(runner.point)
    table.add(hook)
    call(table, "after_run")
    assert calls == ["after_run"]


def test_a_method_set_after_registration_is_seen_by_the_run(make_runner, batches, calls):
    runner = make_runner(max_epochs=1)
    hook = Hook()
    runner.register_hook(hook)
    hook.after_train_iter = lambda runner: calls.append(runner.iter)
    runner.run([batches], [("train", 1)])
    assert calls == [0, 1, 2, 3]


def test_any_object_with_some_methods(table, calls):
    class Duck:
        def after_val_iter(self, runner):
            calls.append("val")

        def before_epoch(self, runner):
            calls.append("epoch")

    table.add(Duck(), "LOW")
    for point in POINTS:
        call(table, point)
    assert calls == ["epoch", "epoch", "val"]


def test_a_hook_of_another_base_is_called_where_it_overrides(table, calls):
    class Foreign(foreign_base()):
        def after_train_iter(self, runner):
            calls.append("iter")

        def after_epoch(self, runner):
            calls.append("epoch")

    table.add(Foreign())
    for point in POINTS:
        call(table, point)
    assert calls == ["iter", "epoch", "epoch"]


@pytest.mark.parametrize(("priority", "takes_part"), [("HIGH", False), ("NORMAL", True), ("LOW", True)])
def test_a_hook_registered_inside_a_point(table, calls, priority, takes_part):
    table.add(Named("first", calls), "HIGHEST")
    table.add(Named("caller", calls, lambda: table.add(Named("new", calls), priority)))
    table.add(Named("last", calls), "LOWEST")
    call(table, "before_run")
    assert calls == ["first", "caller", *(["new"] if takes_part else []), "last"]
    calls.clear()
    call(table, "before_run")
    assert calls == ["first", *(["caller", "new"] if takes_part else ["new", "caller"]), "last"]


def test_hooks_that_register_each_other(table, calls):
    third = Named("third", calls)
    second = Named("second", calls, lambda: table.add(third, "LOW"))
    table.add(Named("first", calls, lambda: table.add(second, "LOW")))
    call(table, "before_run")
    assert calls == ["first", "second", "third"]


def test_a_hook_that_takes_itself_out(table, calls):
    hook = Named("gone", calls, lambda: table.hooks.remove(hook))
    table.add(Named("before", calls), "HIGH")
    table.add(hook)
    table.add(Named("after", calls), "LOW")
    call(table, "before_run")
    call(table, "before_run")
    assert calls == ["before", "gone", "after", "before", "after"]


def test_another_hook_in_its_place(make_runner, batches, calls):
    runner = make_runner(max_epochs=1)
    runner.register_hook(Named("a", calls), "HIGH")
    runner.register_hook(Named("b", calls), "LOW")
    runner.hooks[0] = Named("other", calls)
    runner.run([batches], [("train", 1)])
    assert calls == ["other", "b"]
    assert [hook.priority for hook in runner.hooks] == [30, 70]


def test_a_replaced_hook_is_called_no_more_within_the_point(table, calls):
    def replace():
        table.hooks[1] = Named("new", calls)

    table.add(Named("first", calls, replace))
    table.add(Named("old", calls))
    call(table, "before_run")
    assert calls == ["first", "new"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda hooks: hooks.pop(), "ab"),
        (lambda hooks: hooks.pop(0), "bc"),
        (lambda hooks: hooks.__delitem__(1), "ac"),
        (lambda hooks: hooks.remove(hooks[2]), "ab"),
        (lambda hooks: hooks.clear(), ""),
        (lambda hooks: hooks.__setitem__(slice(0, 2), hooks[1:2]), "bc"),
        (lambda hooks: hooks.insert(0, hooks.pop()), "cab"),
        (lambda hooks: hooks.append(hooks.pop(0)), "bca"),
        (lambda hooks: hooks.extend([hooks.pop(0)]), "bca"),
        (lambda hooks: hooks.reverse(), "cba"),
        (lambda hooks: hooks.sort(key=lambda hook: -ord(hook.name)), "cba"),
        (lambda hooks: hooks.__iadd__([hooks.pop(0)]), "bca"),
    ],
)
def test_a_change_of_the_list_is_seen(table, calls, change, left):
    for name in "abc":
        table.add(Named(name, calls))
    change(table.hooks)
    call(table, "before_run")
    assert "".join(calls) == left


def test_a_hook_put_into_the_list_by_hand_runs(make_runner, batches, calls):
    runner = make_runner(max_epochs=1)
    runner.register_hook(Named("registered", calls))
    runner.hooks.insert(0, Named("by hand", calls))
    runner.register_hook(Named("later", calls))
    runner.run([batches], [("train", 1)])
    assert calls == ["by hand", "registered", "later"]


def test_generic_points_and_own_names_can_be_called(make_runner, calls):
    class Own(Hook):
        def before_epoch(self, runner):
            calls.append("before_epoch")

        def on_oom(self, runner):
            calls.append("on_oom")

    runner = make_runner()
    runner.register_hook(Own())
    for name in ("before_epoch", "before_val_epoch", "on_oom", "after_iter"):
        runner.call_hook(name)
    assert calls == ["before_epoch", "before_epoch", "on_oom"]


def test_a_name_that_no_hook_knows(table):
    with pytest.raises(HookError, match=r"'before_trian_iter'.*did you mean 'before_train_iter'"):
        call(table, "before_trian_iter")


def test_an_error_of_a_hook_comes_through_and_ends_the_point(table, calls):
    def fail():
        raise KeyError("mine")

    table.add(Named("first", calls, fail))
    table.add(Named("second", calls))
    with pytest.raises(KeyError, match="mine"):
        call(table, "before_run")
    assert calls == ["first"]


def test_registering_twice(table, calls):
    hook = Named("once", calls)
    table.add(hook, "HIGH")
    with pytest.raises(HookError, match=r"this Named is registered already \(priority HIGH\)"):
        table.add(hook, "LOW")
    assert table.hooks == [hook]


def test_a_hook_of_another_runner(calls):
    hook = Named("mine", calls)
    CallTable().add(hook)
    with pytest.raises(HookError, match="belongs to another runner"):
        CallTable().add(hook)


@pytest.mark.parametrize(
    ("thing", "message"),
    [(Hook, r"takes a hook, not the class: write Hook\(\)"), (object(), "object is no hook: it has none of")],
)
def test_things_that_are_no_hooks(table, thing, message):
    with pytest.raises(TypeError, match=message):
        table.add(thing)
    assert table.hooks == []


def test_a_bad_priority_registers_nothing(table):
    with pytest.raises(ConfigError, match="out of range"):
        table.add(Hook(), 101)
    assert table.hooks == []


@given(st.lists(st.integers(0, 100) | st.sampled_from(["HIGH", "NORMAL", "LOW"]), max_size=30))
def test_order_is_a_stable_sort_by_priority(priorities):
    table, calls = CallTable(), []
    for index, priority in enumerate(priorities):
        table.add(Named(index, calls), priority)
    call(table, "before_run")
    levels = {"HIGH": 30, "NORMAL": 50, "LOW": 70}
    assert calls == sorted(range(len(priorities)), key=lambda index: levels.get(priorities[index], priorities[index]))


class Sometimes(Hook):
    def __init__(self, wanted, calls):
        self.wanted, self.calls = wanted, calls

    @when(lambda hook: hook.wanted)
    def after_train_iter(self, runner):
        self.calls.append("own")


class Overriding(Sometimes):
    def after_train_iter(self, runner):
        self.calls.append("overridden")
        super().after_train_iter(runner)


def test_a_method_is_left_out_while_it_has_nothing_to_do(table, calls):
    hook = Sometimes(False, calls)
    table.add(hook)
    call(table, "after_train_iter")
    assert not calls
    assert hook.get_triggered_stages() == []
    hook.wanted = True
    table.rebuild()
    call(table, "after_train_iter")
    assert calls == ["own"]


def test_what_a_base_class_leaves_out_does_not_bind_a_subclass(table, calls):
    table.add(Overriding(False, calls))
    call(table, "after_train_iter")
    assert calls == ["overridden", "own"]


def test_what_before_run_makes_of_a_hook_is_seen(make_runner, batches, calls):
    class Learning(Sometimes):
        def before_run(self, runner):
            self.wanted = runner.by_epoch
            self.after_train_epoch = lambda runner: calls.append("epoch")

    runner = make_runner(max_epochs=1)
    runner.register_hook(Learning(False, calls))
    runner.run([batches[:2]], [("train", 1)])
    assert calls == ["own", "own", "epoch"]


def test_a_wrapper_of_a_method_that_may_be_left_out_is_called(table, calls):
    class Wrapping(Sometimes):
        @functools.wraps(Sometimes.after_train_iter)
        def after_train_iter(self, runner):
            calls.append("wrapper")

    table.add(Wrapping(False, calls))
    call(table, "after_train_iter")
    assert calls == ["wrapper"]


def test_one_function_for_two_hooks_is_called_twice(table, calls):
    def note(runner):
        calls.append("note")
        if len(calls) == 2:
            table.add(Named("new", calls), "LOWEST")

    for _ in range(2):
        hook = Hook()
        hook.before_run = note
        table.add(hook)
    call(table, "before_run")
    assert calls == ["note", "note", "new"]
