"""Recipe: how a code base consumes its config, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: Keys of ``data`` that describe data sets or their loaders, and are no arguments of the loaders.
SPLITS = ("train", "val", "test", "train_dataloader", "val_dataloader", "test_dataloader")


@dataclass(frozen=True)
class Evaluation:
    """How the hook that evaluates is registered.

    Attributes:
        hook: its class, ``"package.module:Class"``; without a colon a name that mmhooks has registered.
        dist_hook: the same in several processes.
        priority: its priority.
        by_epoch: the type of runner decides over ``by_epoch``, whatever the config says.
        without_key: it is registered with its defaults where the config has no ``evaluation``.
    """

    hook: str = "EvalHook"
    dist_hook: str = "DistEvalHook"
    priority: str = "LOW"
    by_epoch: bool = True
    without_key: bool = True


@dataclass(frozen=True)
class Loaders:
    """The arguments of the function that builds loaders.

    Attributes:
        train: those of the train loader, unless the config says otherwise.
        val: those of the val loader that replace the ones of the train loader.
        reads: which keys of ``data`` are arguments too: all that are no split, or these.
        val_reads: which of them the val loader takes; None: the same, after the arguments of the train loader.
        data_wins: what ``data`` says goes before what ``data.<split>_dataloader`` does.
        tells_runner: the train loader is told the ``runner_type``.
    """

    train: Mapping[str, Any]
    val: Mapping[str, Any]
    reads: tuple[str, ...] | None = None
    val_reads: tuple[str, ...] | None = None
    data_wins: bool = False
    tells_runner: bool = False


@dataclass(frozen=True)
class Builders:
    """The functions of a code base that build from its config, each ``"package.module:function"``.

    Attributes:
        model: takes the config's ``model``.
        dataset: takes the config of a split, and ``dict(test_mode=True)`` for evaluation.
        loader: takes a data set and the arguments of `Loaders`.
        optimizer: takes the model and the config's ``optimizer``.
        model_arguments: keys of the config that are further arguments of ``model``.
        init_weights: the model's ``init_weights`` is called.
        finish: is called with the model and ``cfg=``, the whole config, afterwards.
        alone: takes the model of a run in one process, and gives the one to train.
        batched: takes the pipeline of the val data, and gives one for batches of more than one sample.
    """

    model: str
    dataset: str
    loader: str
    optimizer: str
    model_arguments: tuple[str, ...] = ()
    init_weights: bool = True
    finish: str | None = None
    alone: str | None = None
    batched: str | None = None


@dataclass(frozen=True)
class Recipe:
    """How a code base consumes its config: what its functions for training do with each key.

    Attributes:
        name: what ``--codebase`` calls it.
        package: what is imported for its classes. None: the config's ``custom_imports`` bring them.
        version: the release that was read.
        model_types: types of ``model`` by which a config is known to be its.
        default_runner: the runner of a config without ``runner``; None: ``total_epochs`` or ``total_iters`` says it.
        reads_runner: whether ``runner`` is read at all.
        fp16: what ``fp16`` does: arguments of an Fp16OptimizerHook, its loss_scale alone, or nothing.
        evaluation: how the hook that evaluates is registered.
        custom_hooks: whether the config's own hooks are registered before or after the evaluation.
        custom_hooks_keys: where they are; the first that is there counts.
        find_unused_parameters: the default of this argument of DistributedDataParallel.
        loaders: the arguments of loaders. None: those of mmhooks.
        builders: what builds models and data. None: the registries of mmhooks.
        substitutes: ``${key}`` stands for the value of another key.
        scales_lr: ``auto_scale_lr`` is read: where enabled, lr grows with the number of samples of all processes.
        loader_keys: keys of the config that are arguments of the train loader, by the argument.
        skips_optimizer_hook: a key that, when true, leaves the optimizer hook out: train_step steps.
        command_line: keys that the command line sets, whatever the config says.
        unread: keys that are known and read by nothing, with the reason.
        meta: attributes of the train data set that go into a checkpoint's ``meta``.
    """

    name: str
    package: str | None = None
    version: str = ""
    model_types: frozenset[str] = frozenset()
    default_runner: str | None = None
    reads_runner: bool = True
    fp16: Literal["arguments", "loss_scale", "ignored"] = "arguments"
    evaluation: Evaluation = Evaluation()
    custom_hooks: Literal["before", "after"] = "before"
    custom_hooks_keys: tuple[str, ...] = ("custom_hooks",)
    find_unused_parameters: bool = False
    loaders: Loaders | None = None
    builders: Builders | None = None
    substitutes: bool = False
    scales_lr: bool = False
    loader_keys: Mapping[str, str] = field(default_factory=dict)
    skips_optimizer_hook: str | None = None
    command_line: frozenset[str] = frozenset()
    unread: Mapping[str, str] = field(default_factory=dict)
    meta: tuple[str, ...] = ()
