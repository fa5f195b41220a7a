"""Hooks of a user that change the run under way: the same consequences under both drivers."""

import pytest
from both.cases import case
from both.compare import check
from both.forms import checkered, slow
from both.hooks import CLIP, EPOCHS, KINDS, WATCHED

from mmhooks.hook import POINTS

#: the points that an iteration-based run does not come to
EPOCH_POINTS = [point for point in POINTS if point.endswith("_epoch")]

#: what is done, at which point, and at which of its calls (None: at all of them)
DEEDS = [
    ("seeds", "before_run", None),
    ("seeds", "before_train_epoch", None),
    ("seeds", "before_train_iter", None),
    ("seeds", "after_val_iter", None),
    ("draws", "after_train_epoch", None),
    ("draws", "before_val_epoch", None),
    ("draws", "before_run", None),
    ("sets eval mode", "before_train_epoch", 1),
    ("sets eval mode", "before_train_iter", 2),
    ("sets eval mode", "after_train_iter", 1),
    ("sets eval mode", "after_train_epoch", None),
    ("sets a part to eval mode", "before_run", None),
    ("sets a part to eval mode", "after_val_epoch", 0),
    ("registers a later hook", "before_run", None),
    ("registers a later hook", "before_train_epoch", 1),
    ("registers an earlier hook", "before_train_iter", 3),
    ("registers a hook of its priority", "after_train_iter", 3),
    ("registers a hook of its priority", "before_val_iter", 0),
    ("removes hooks", "after_train_iter", 4),
    ("replaces a hook", "before_train_iter", 2),
    ("halves the lr", "before_train_iter", 5),
    ("changes the batch", "before_train_iter", None),
    ("changes a batch in place", "before_train_iter", None),
    ("changes a batch in place", "before_val_iter", None),
    ("changes the outputs", "after_train_iter", None),
    ("changes a weight", "after_train_iter", 5),
    ("changes a weight", "after_val_iter", None),
    ("loads weights", "before_train_epoch", 1),
    ("loads weights", "after_train_iter", 3),
    ("freezes a part", "after_train_iter", 2),
    ("switches gradients off", "after_train_epoch", 0),
    ("switches gradients off", "before_train_iter", 3),
    ("switches gradients off", "after_val_iter", 1),
    ("switches gradients off", "before_run", 0),
    ("adds a param group", "before_run", 0),
    ("adds a param group", "after_train_iter", 3),
    ("loads an optimizer's state", "after_train_iter", 5),
    ("loads an optimizer's state", "before_run", 0),
    ("replaces the optimizer", "before_run", 0),
    ("replaces the optimizer", "after_train_iter", 5),
    ("steps", "before_train_iter", 3),
    ("steps", "after_val_iter", 1),
    ("zeroes gradients", "after_val_iter", None),
    ("logs", "after_train_iter", None),
    ("clears the log", "before_train_iter", None),
    ("writes meta", "before_run", None),
    ("writes meta", "after_train_iter", None),
    ("saves", "before_run", None),
    ("saves", "before_train_iter", 3),
    ("saves", "after_train_iter", 5),
    ("saves", "after_train_epoch", None),
    ("saves", "after_val_iter", None),
    ("saves", "after_run", None),
    ("ends earlier", "before_run", None),
    ("ends earlier", "before_train_epoch", 1),
    ("ends earlier", "after_train_iter", 5),
    ("ends earlier", "after_train_epoch", 1),
    ("ends earlier", "after_val_iter", 0),
    ("ends later", "before_run", None),
    ("ends later", "after_train_iter", 5),
    ("ends later", "after_train_epoch", 0),
    ("ends later", "before_train_epoch", 2),
    ("ends later", "after_val_epoch", 0),
    ("calls a point", "after_train_iter", 3),
    ("calls a point of its own", "after_train_iter", 3),
    ("asks for the hooks", "before_train_iter", 3),
]

STOPS = [
    ("before_run", 0), ("before_epoch", 0), ("before_train_epoch", 0), ("before_train_epoch", 1),
    ("before_train_iter", 0), ("before_train_iter", 5), ("after_train_iter", 0), ("after_train_iter", 3),
    ("after_train_iter", 4), ("after_train_iter", 7), ("after_train_epoch", 0), ("before_val_epoch", 0),
    ("before_val_iter", 0), ("after_val_iter", 1), ("after_val_epoch", 0),
]  # fmt: skip

OTHERS = {
    "hooks": [
        {"type": "Duck", "priority": "HIGH"},
        {"type": "EMAHook", "momentum": 0.1, "priority": "ABOVE_NORMAL"},
        {"type": "EvalHook", "data": {"size": 9}, "save_best": "loss", "priority": "LOW"},
    ],
    "training": {"lr_config": {"policy": "poly", "warmup": "linear", "warmup_iters": 2}, **WATCHED},
}


def _case(kind, deed, point, at, **more):
    hook = {"type": "Deed", "deed": deed, "point": point, "at": at, "priority": "NORMAL"}
    return case(kind, OTHERS, hooks=[hook], **more)


def _combined(places, each_first=False):
    """Combine places (the last two: point and call) with the kinds of runs that come there, half of it for both forms.

    Of a deed at several places the short form has the first alone, where ``each_first``.
    """
    known = set()
    for number, place in enumerate(places):
        kinds = KINDS[:1] if place[-2] in EPOCH_POINTS else KINDS
        for shift, kind in enumerate(kinds):
            late = (each_first and place[0] in known) or (len(kinds) > 1 and (number + shift) % 2)
            yield pytest.param(
                *place, *kind.values, id="-".join(map(str, (*place, kind.id))), marks=[slow] * bool(late)
            )
        known.add(place[0])


@pytest.mark.parametrize(("deed", "point", "at", "kind"), list(_combined(DEEDS, each_first=True)))
def test_a_deed(deed, point, at, kind):
    check(_case(kind, deed, point, at))


@pytest.mark.parametrize(("point", "at", "kind"), list(_combined(STOPS)))
def test_a_stop(point, at, kind):
    accumulating = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3, "grad_clip": CLIP}
    check(_case(kind, "stops", point, at, training={"optimizer_config": accumulating}))


DATA = ("shifts the data", "shrinks the data", "grows the data", "sets a shorter loader", "sets a longer loader")


@checkered("deed, point, at", DATA, ["before_train_epoch", "before_val_epoch"], [0, 1])
def test_other_data(deed, point, at):
    check(_case(EPOCHS, deed, point, at, length=4))


@checkered("deed", DATA)
def test_other_data_in_workers(deed):
    train = {"shuffle": True, "size": 29, "num_workers": 1}
    check(_case(EPOCHS, deed, "before_train_epoch", 1, train=train))


@checkered("deed, point", DATA[:3], ["before_run", "after_train_epoch", "after_val_epoch", "after_val_iter"])
def test_other_data_between_epochs(deed, point):
    check(_case(EPOCHS, deed, point, 0, length=4))


@checkered("point", ["before_run", "before_train_epoch", "after_train_epoch", "after_train_iter"])
def test_other_data_in_workers_that_stay(point):
    train = {"shuffle": True, "size": 29, "num_workers": 1, "persistent_workers": True}
    check(_case(EPOCHS, "shifts the data", point, 0, train=train))


@checkered(
    "deed, point, kind",
    ["fails", "raises StopIteration"],
    ["before_run", "before_train_epoch", "before_train_iter", "after_train_iter", "before_val_iter", "after_run"],
    KINDS,
)
def test_a_hook_that_fails(deed, point, kind):
    check(_case(kind, deed, point, 1 if point.endswith("iter") else 0))
