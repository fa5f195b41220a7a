"""Registry and build_from_cfg. The tables of answers were read off MMCV 1.7.2."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhooks import Hook
from mmhooks.errors import ConfigError, MMHooksError, RegistryError
from mmhooks.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS, RUNNERS, Registry, arguments_of, build_from_cfg


class Net:
    def __init__(self, width: int, depth: int = 1) -> None:
        self.width, self.depth = width, depth


def count(width: int = 3) -> int:
    return width


class AwkwardError(Exception):
    """Cannot be made from a message alone, which is how MMCV makes it anew."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Failing:
    def __init__(self, width: int) -> None:
        raise AwkwardError(7, "no room")


@pytest.fixture
def registry() -> Registry:
    registry = Registry("net", scope="lab")
    for module in (Net, count, Failing):
        registry.register_module(module=module)
    return registry


# --- registration ---------------------------------------------------------------------------------------


def test_every_way_to_register_returns_the_object_itself() -> None:
    registry = Registry("net")
    assert registry.register_module()(Net) is Net
    assert registry.register_module(count) is count  # the decorator without parentheses
    assert registry.register_module(name="Other")(Net) is Net
    assert registry.register_module("Third", module=Net) is Net
    assert registry.register_module(name=("a", "b"))(count) is count
    assert registry.register_module(name=[], module=count) is count
    assert registry.module_dict == {
        "Net": Net,
        "count": count,
        "Other": Net,
        "Third": Net,
        "a": count,
        "b": count,
    }
    assert len(registry) == 6
    assert "a" in registry
    assert "c" not in registry


def test_a_taken_name_is_an_error_that_names_both(registry: Registry) -> None:
    rival = type("Net", (), {"__module__": "somewhere.else"})
    with pytest.raises(RegistryError, match=rf"'Net' .* net registry .*{__name__}\.Net.*somewhere\.else\.Net"):
        registry.register_module(module=rival)
    with pytest.raises(KeyError):  # what code written against MMCV catches
        registry.register_module(module=rival)
    assert registry.get("Net") is Net
    registry.register_module(module=rival, force=True)
    assert registry.get("Net") is rival


def test_what_yields_gives_its_name_to_the_next_one(registry: Registry) -> None:
    built_in, own, third = (type("Late", (), {"home": home}) for home in range(3))
    assert registry.register_module(yields=True)(built_in) is built_in
    assert registry.build({"type": "Late"}).home == 0  # as long as nobody wants the name
    registry.register_module(module=own)
    assert registry.build({"type": "Late"}).home == 1
    with pytest.raises(RegistryError, match="'Late' in the net registry is already"):
        registry.register_module(module=third)
    with pytest.raises(RegistryError, match="'Net' in the net registry is already"):
        registry.register_module(name="Net", module=third, yields=True)  # it takes nothing by itself
    assert registry.get("Late") is own


def test_of_several_names_each_yields_by_itself(registry: Registry) -> None:
    registry.register_module(name=["a", "b"], module=Net, yields=True)
    registry.register_module(name="b", module=count)
    assert (registry.get("a"), registry.get("b")) == (Net, count)
    registry.register_module(name="a", module=count, force=True)
    with pytest.raises(RegistryError, match="'a' in the net registry"):
        registry.register_module(name="a", module=Net)


@pytest.mark.parametrize("name", ["CheckInvalidLossHook", "EvalHook", "DistEvalHook"])
def test_hooks_that_mmcv_lacks_leave_their_names_to_a_project(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert HOOKS.module_dict[name].__module__.startswith("mmhooks.hooks.")
    monkeypatch.setattr(HOOKS, "_module_dict", dict(HOOKS.module_dict))
    own = type(name, (Hook,), {})
    HOOKS.register_module(module=own)
    assert type(HOOKS.build({"type": name})) is own
    with pytest.raises(RegistryError, match=f"'{name}' in the hook registry is already"):
        HOOKS.register_module(module=type(name, (Hook,), {}))


def test_hooks_of_mmcv_keep_theirs() -> None:
    with pytest.raises(RegistryError, match="'EMAHook' in the hook registry is already"):
        HOOKS.register_module(module=type("EMAHook", (Hook,), {}))


def test_of_several_names_none_is_registered_when_one_is_taken(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="'count'"):
        registry.register_module(name=["fresh", "count"], module=Net)
    assert "fresh" not in registry


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": 3}, r"class or a function, not 3 \(int\)"),
        ({"module": partial(count)}, "class or a function"),
        ({"module": len}, "class or a function"),
        ({"module": Net, "force": 1}, r"force must be True or False, not 1 \(int\)"),
        ({"module": Net, "yields": 1}, r"yields must be True or False, not 1 \(int\)"),
        ({"module": Net, "name": 5}, r"name must be a str, .* not 5 \(int\)"),
        ({"module": Net, "name": ["a", 1]}, "name must be a str"),
        ({"module": Net, "name": {"a"}}, "name must be a str"),
    ],
)
def test_wrong_types(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Registry("net").register_module(**arguments)


def test_repr_and_properties(registry: Registry) -> None:
    assert (registry.name, registry.scope, registry.parent, registry.children) == ("net", "lab", None, {})
    assert repr(Registry("net")) == "Registry(name=net, items={})"
    assert repr(registry).startswith("Registry(name=net, items={'Net': <class")


# --- scopes ---------------------------------------------------------------------------------------------


def test_scope_is_the_top_package_of_the_caller() -> None:
    class Sub(Registry):
        def __init__(self, name: str) -> None:
            super().__init__(name)

    assert Registry("net").scope == Sub("net").scope == __name__.split(".")[0]
    elsewhere: dict[str, Any] = {"__name__": "mmlab.models.builder", "Registry": Registry}
    exec("made = Registry('net')", elsewhere)
    assert elsewhere["made"].scope == "mmlab"


def test_split_scope_key() -> None:
    assert Registry.split_scope_key("mmdet.ResNet") == ("mmdet", "ResNet")
    assert Registry.split_scope_key("mmdet.sub.ResNet") == ("mmdet", "sub.ResNet")
    assert Registry.split_scope_key("ResNet") == (None, "ResNet")


def make_tree() -> dict[str, Registry]:
    """A root with children mid and sib, and leaf below mid: each holds `Same` and a name of its own."""
    root = Registry("net", scope="root")
    mid, sib = Registry("net", parent=root, scope="mid"), Registry("net", parent=root, scope="sib")
    leaf = Registry("net", parent=mid, scope="leaf")
    tree = {"root": root, "mid": mid, "leaf": leaf, "sib": sib}
    for scope, registry in tree.items():
        for name in ("Same", f"Only{scope}"):
            registry.register_module(name=name, module=type(name, (), {"home": scope}))
    return tree


# Asked from: the columns. "?" is where MMCV fails with "'NoneType' object has no attribute 'parent'" and we
# answer None: no registry knows the scope.
MMCV_ANSWERS = """
    key             root    mid     leaf    sib
    Same            root    mid     leaf    sib
    Onlyroot        root    -       -       -
    Onlymid         -       mid     -       -
    Onlyleaf        -       -       leaf    -
    root.Same       root    root    root    root
    mid.Same        mid     mid     mid     mid
    leaf.Same       ?       leaf    leaf    ?
    sib.Same        sib     sib     sib     sib
    mid.leaf.Same   leaf    -       leaf    leaf
    root.mid.Same   -       -       -       -
    root.sib.Same   -       -       -       -
    no.Same         ?       ?       ?       ?
    mid.no.Same     ?       -       ?       ?
    root.Nope       -       -       -       -
    leaf.Onlymid    ?       -       -       ?
"""


def test_get_answers_as_mmcv_does() -> None:
    tree = make_tree()
    header, *rows = [line.split() for line in MMCV_ANSWERS.strip().splitlines()]
    for key, *answers in rows:
        for scope, answer in zip(header[1:], answers, strict=True):
            found = tree[scope].get(key)
            assert getattr(found, "home", None) == (None if answer in "-?" else answer), (scope, key)
            assert (key in tree[scope]) == (found is not None)


def test_children_and_parents() -> None:
    tree = make_tree()
    assert tree["root"].children == {"mid": tree["mid"], "sib": tree["sib"]}
    assert tree["leaf"].parent is tree["mid"]
    with pytest.raises(RegistryError, match=r"net registry .*'root'.* child of scope 'mid'"):
        Registry("net", parent=tree["root"], scope="mid")
    with pytest.raises(TypeError, match=r"parent .* must be a Registry, not 'root' \(str\)"):
        Registry("net", parent="root")  # type: ignore[arg-type]


@given(st.lists(st.integers(min_value=0), max_size=6), st.data())
def test_a_path_from_the_root_works_everywhere_but_through_a_scope_of_its_own(
    parents: list[int], data: st.DataObject
) -> None:
    tree = [Registry("net", scope="s0")]
    paths = [""]
    for number, parent in enumerate(parents, start=1):
        above = parent % number
        tree.append(Registry("net", parent=tree[above], scope=f"s{number}"))
        paths.append(f"{paths[above]}s{number}.")
    for number, registry in enumerate(tree):
        registry.register_module(name="Net", module=type("Net", (), {"home": number}))

    asked = data.draw(st.integers(0, len(tree) - 1))
    wanted = data.draw(st.integers(1, len(tree) - 1)) if parents else 0
    key = f"{paths[wanted]}Net" if wanted else "s0.Net"
    # MMCV reads the asked registry's own scope at the head of a key as itself, and never looks below it then.
    hidden = key.startswith(f"{tree[asked].scope}.") and asked != wanted
    assert getattr(tree[asked].get(key), "home", None) == (None if hidden else wanted)


# --- building -------------------------------------------------------------------------------------------


def test_build_takes_names_classes_and_functions(registry: Registry) -> None:
    assert registry.build({"type": "Net", "width": 2}).width == 2
    assert registry.build({"type": "lab.Net", "width": 2}).width == 2
    assert registry.build({"type": Net, "width": 2}).width == 2
    assert registry.build({"type": "count"}) == 3
    assert registry.build({"type": count, "width": 4}) == 4
    assert registry.build(cfg={"type": "count"}) == 3


def test_default_args_fill_in_and_nothing_is_mutated(registry: Registry) -> None:
    cfg, defaults = {"type": "Net", "width": 2}, {"type": "count", "width": 9, "depth": 5}
    built = build_from_cfg(cfg, registry, defaults)
    assert (built.width, built.depth) == (2, 5)
    assert cfg == {"type": "Net", "width": 2}
    assert defaults == {"type": "count", "width": 9, "depth": 5}
    assert registry.build({}, default_args={"type": "count", "width": 9}) == 9


def test_build_func_is_inherited_and_receives_the_registry() -> None:
    def describe(cfg: str, registry: Registry, loud: bool = False) -> str:
        text = f"{cfg} by {registry.name}"
        return text.upper() if loud else text

    child = Registry("child", parent=Registry("parent", build_func=describe), scope="child")
    assert child.build("net") == "net by child"
    assert child.build("net", loud=True) == "NET BY CHILD"
    assert Registry("own", build_func=build_from_cfg, parent=child).build_func is build_from_cfg


def test_unknown_type(registry: Registry) -> None:
    with pytest.raises(RegistryError) as caught:
        registry.build({"type": "Nets"})
    message = str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert message.startswith("'Nets' is not in the net registry (scope 'lab'); did you mean 'Net'? A class")
    assert "custom_imports" in message
    assert "register_module()" in message


def test_unknown_type_with_nothing_near(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"'Xyzzy' is not in the net registry \(scope 'lab'\)\. A class"):
        registry.build({"type": "Xyzzy"})


@pytest.mark.parametrize(
    ("scope", "wanted", "suggested"),
    [
        ("leaf", "Onlysib", "'sib.Onlysib'"),
        ("leaf", "Onlyroot", "'root.Onlyroot'"),
        ("leaf", "mmdet.Onlyleaf", "'Onlyleaf'"),
        ("mid", "Onlyleaf", "'leaf.Onlyleaf'"),
        ("root", "leaf.Onlyleaf", "'mid.leaf.Onlyleaf'"),
        ("root", "sib.Onlysip", "'sib.Onlysib'"),
    ],
)
def test_a_suggestion_is_a_key_that_works_from_there(scope: str, wanted: str, suggested: str) -> None:
    registry = make_tree()[scope]
    with pytest.raises(RegistryError, match=rf"did you mean {suggested}"):
        registry.build({"type": wanted})
    assert suggested.strip("'") in registry


def test_missing_type_names_the_keys(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"net registry needs a 'type'.* keys 'typ', 'width'; .*'type' by 'typ'"):
        registry.build({"typ": "Net", "width": 2})
    with pytest.raises(ValueError, match="it has no keys"):
        registry.build({})
    with pytest.raises(ConfigError, match=r"keys 'tpye'; did you mean 'type' by 'tpye'\?$"):
        registry.build({"tpye": "Net"})
    with pytest.raises(ConfigError, match=r"it has the keys 'step', 'width'$"):
        registry.build({"step": 1, "width": 2})


@pytest.mark.parametrize("wrong", [3, None, len, partial(count)])
def test_type_of_a_wrong_type(registry: Registry, wrong: object) -> None:
    with pytest.raises(TypeError, match="type must be a registered name, a class or a function, not"):
        registry.build({"type": wrong})


def test_arguments_of_wrong_types(registry: Registry) -> None:
    with pytest.raises(TypeError, match="config for the net registry must be a dict, not"):
        registry.build([Net])
    with pytest.raises(TypeError, match="default_args must be a dict or None, not"):
        build_from_cfg({"type": "count"}, registry, default_args=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="registry must be a Registry, not"):
        build_from_cfg({"type": "count"}, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key of the net registry must be a str, not 3"):
        registry.get(3)  # type: ignore[arg-type]


def test_a_failing_constructor_keeps_its_exception(registry: Registry) -> None:
    with pytest.raises(AwkwardError) as caught:
        registry.build({"type": "Failing", "width": 2})
    assert str(caught.value) == "7: no room"
    assert caught.value.code == 7
    assert caught.value.__notes__ == [f"while building {__name__}.Failing for the net registry from the keys 'width'"]


def test_a_key_that_the_class_does_not_take(registry: Registry) -> None:
    with pytest.raises(TypeError, match="widht") as caught:
        registry.build({"type": "Net", "widht": 2, "depth": 3})
    assert "did you mean 'width'?" in str(caught.value)
    assert caught.value.__notes__ == [
        f"while building {__name__}.Net for the net registry from the keys 'widht', 'depth'"
    ]


def test_another_error_is_not_laid_to_keys_that_the_class_passes_on(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="interval must be a positive integer, not 0") as caught:
        HOOKS.build({"type": "EvalHook", "interval": 0, "metric": "bbox", "dataloader": []})
    [note] = caught.value.__notes__
    assert note.endswith("from the keys 'interval', 'metric', 'dataloader'")


class Rooted:
    def __init__(self, depth: int = 1, **kwargs: object) -> None:
        if kwargs:
            raise TypeError(f"Base.__init__() got an unexpected keyword argument {next(iter(kwargs))!r}")


class Middle(Net):
    def __init__(self, height: int = 1, **kwargs: int) -> None:
        super().__init__(**kwargs)


class Top(Middle): ...


@pytest.mark.parametrize(
    ("target", "key", "message"),
    [
        (Net, "widht", r"^Net got an unexpected keyword argument 'widht'; did you mean 'width'\? It takes .*width"),
        (Top, "heigth", r"^Top got .* 'heigth'; did you mean 'height'.*\? It takes height, .*width"),
        (Top, "xyzzy", r"^Top got an unexpected keyword argument 'xyzzy'\. It takes height, "),
        (Rooted, "xyzzy", r"^Rooted got an unexpected keyword argument 'xyzzy'\. It takes depth"),
    ],
)
def test_an_unknown_key_is_told_of_the_class_that_was_asked_for(
    registry: Registry, target: type, key: str, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        registry.build({"type": target, key: 2})


@pytest.mark.parametrize(
    ("registered", "takes"),
    [
        ({"type": "StepLrUpdaterHook", "step": 1}, "step, gamma, min_lr, by_epoch, warmup, warmup_iters, warmup_ratio"),
        ({"type": "GradientCumulativeFp16OptimizerHook"}, "cumulative_iters, skip_exchange, grad_clip, coalesce"),
        ({"type": "CheckpointHook"}, "interval, by_epoch, save_optimizer, out_dir, .*filename_tmpl"),
        ({"type": "IterTimerHook"}, "none"),
    ],
)
def test_the_hooks_say_what_they_take(registered: dict[str, object], takes: str) -> None:
    kind = registered["type"]
    with pytest.raises(TypeError, match=rf"^{kind} got an unexpected keyword argument 'bog'.*It takes {takes}"):
        HOOKS.build({**registered, "bog": 1})


def test_a_runner_says_what_it_takes() -> None:
    with pytest.raises(
        TypeError, match=r"^EpochBasedRunner got .* 'max_epoch'; did you mean 'max_epochs'.*takes model"
    ):
        RUNNERS.build({"type": "EpochBasedRunner", "max_epoch": 1})


def test_a_wrong_call_inside_a_class_is_its_own(registry: Registry) -> None:
    class Outer:
        def __init__(self, width: int) -> None:
            print(1, width=width)

    with pytest.raises(TypeError, match="width") as caught:
        registry.build({"type": Outer, "width": 2})
    assert not str(caught.value).startswith("Outer got")


def test_classes_without_a_signature_get_a_note_too(registry: Registry) -> None:
    with pytest.raises(TypeError) as caught:
        registry.build({"type": type, "width": 2})
    assert caught.value.__notes__ == ["while building builtins.type for the net registry from the keys 'width'"]


# --- the registries of mmhooks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (Net, ["width", "depth"]),
        (count, ["width"]),
        (Top, ["height", "width", "depth"]),
        (Rooted, ["depth"]),
        (type, []),
    ],
)
def test_the_arguments_of_a_class(target: Any, names: list[str]) -> None:
    assert arguments_of(target) == names


def test_own_registries() -> None:
    registries = {"hook": HOOKS, "runner": RUNNERS, "model": MODELS, "dataset": DATASETS}
    for name, registry in registries.items():
        assert (registry.name, registry.scope, registry.parent) == (name, "mmhooks", None)


def test_optimizers_are_those_of_torch() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    sgd = OPTIMIZERS.build({"type": "SGD", "lr": 0.1}, default_args={"params": [weight]})
    assert type(sgd) is torch.optim.SGD
    expected = {
        "ASGD",
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "LBFGS",
        "NAdam",
        "RAdam",
        "RMSprop",
    }
    assert expected | {"Rprop", "SparseAdam", "Optimizer"} <= OPTIMIZERS.module_dict.keys()
    with pytest.raises(MMHooksError, match=r"'AdamX' .* 'Adam"):
        OPTIMIZERS.build({"type": "AdamX"})


def test_importing_the_registry_imports_nothing_heavy() -> None:
    check = (
        "import sys, mmhooks.registry; "
        "print(sorted({'lightning', 'matplotlib', 'sklearn', 'pandas'} & sys.modules.keys()))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_decorated_classes_keep_their_type(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    source = tmp_path / "user_code.py"
    source.write_text(
        "from mmhooks.registry import HOOKS\n"
        "@HOOKS.register_module()\n"
        "class A:\n    x: int = 1\n"
        "@HOOKS.register_module\n"
        "class B:\n    x: int = 1\n"
        "@HOOKS.register_module(name=['C', 'D'])\n"
        "def f(x: int) -> str:\n    return str(x)\n"
        "class E: ...\n"
        "reveal_type(A().x)\nreveal_type(B().x)\nreveal_type(f(1))\n"
        "reveal_type(HOOKS.register_module('e', module=E)())\n"
        "HOOKS.register_module(5)\n"
    )
    root = Path(__file__).parents[1]
    report, _, _ = api.run(["--config-file", str(root / "pyproject.toml"), "--strict", str(source)])
    revealed = [line.split('"')[1] for line in report.splitlines() if "Revealed type" in line]
    assert [name.split(".")[-1] for name in revealed] == ["int", "int", "str", "E"]
    errors = [line for line in report.splitlines() if "user_code.py:" in line and ": error: " in line]
    assert len(errors) == 1  # register_module(5)
