"""Runs to be walked: short ones of all kinds, drawn by hypothesis."""

from hypothesis import strategies as st

from mmhooks.plan import plan_run


def plan_of(by_epoch, length, **values):
    runner = {"type": "EpochBasedRunner", "max_epochs": length} if by_epoch else {
        "type": "IterBasedRunner", "max_iters": length}  # fmt: skip
    default = {
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "optimizer_config": {},
        "lr_config": {"policy": "fixed"},
        "checkpoint_config": {"interval": 1},
        "runner": runner,
    }
    return plan_run({**default, **values}, "mmcv")


def policies(by_epoch, what):
    """Draw a schedule of lr or momentum."""
    end, ratio = (f"min_{what}", f"min_{what}_ratio")
    annealing = st.one_of(st.fixed_dictionaries({end: st.sampled_from([0.0, 0.01])}),
                          st.fixed_dictionaries({ratio: st.sampled_from([0.1, 0.5])}))  # fmt: skip
    step = st.fixed_dictionaries({"step": st.one_of(st.integers(1, 5), st.lists(st.integers(1, 9), min_size=1)),
                                  "gamma": st.sampled_from([0.1, 0.5])})  # fmt: skip
    found = {"step": step, "CosineAnnealing": annealing, "LinearAnnealing": annealing}
    if what == "lr":
        found |= {
            "fixed": st.just({}),
            "exp": st.just({"gamma": 0.9}),
            "poly": st.fixed_dictionaries({"power": st.sampled_from([0.9, 2.0]), "min_lr": st.just(1e-4)}),
            "inv": st.just({"gamma": 0.1}),
            "FlatCosineAnnealing": st.just({"start_percent": 0.5, "min_lr": 0.001}),
            "CosineRestart": st.just({"periods": [3, 50], "restart_weights": [1, 0.5], "min_lr": 1e-5}),
        }
    if not by_epoch:
        found["cyclic"] = st.just({"target_ratio": (2.0, 0.1), "step_ratio_up": 0.4})

    def full(policy):
        moves = st.just({"by_epoch": False}) if policy == "cyclic" or not by_epoch else st.fixed_dictionaries(
            {"by_epoch": st.booleans()})  # fmt: skip
        return st.tuples(found[policy], moves).map(lambda parts: {"policy": policy, **parts[0], **parts[1]})

    warmup = st.fixed_dictionaries({"warmup": st.sampled_from(["constant", "linear", "exp"]),
                                    "warmup_iters": st.integers(1, 12),
                                    "warmup_ratio": st.sampled_from([0.001, 0.5])})  # fmt: skip
    schedule = st.sampled_from(sorted(found)).flatmap(full)
    return st.tuples(schedule, st.one_of(st.just({}), warmup)).map(lambda parts: {**parts[0], **parts[1]})


OPTIMIZERS = [{"type": "SGD", "lr": 0.1, "momentum": 0.9}, {"type": "AdamW", "lr": 1e-3}]
WORKFLOWS = [
    [("train", 1)],
    [("train", 2)],
    [("train", 1), ("val", 1)],
    [("train", 3), ("val", 1)],
]


@st.composite
def drawn(draw, workflows=(*WORKFLOWS, [("train", 1), ("val", 2), ("train", 2)])):
    """Draw the plan of a run, and the length of its epochs."""
    by_epoch = draw(st.booleans())
    length = draw(st.integers(1, 6) if by_epoch else st.integers(1, 20))
    flows = draw(st.sampled_from(workflows))
    interval = st.integers(1, 4)
    values = {
        "lr_config": draw(policies(by_epoch, "lr")),
        "momentum_config": draw(st.one_of(st.none(), policies(by_epoch, "momentum"))),
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "checkpoint_config": draw(st.fixed_dictionaries({
            "interval": st.one_of(st.just(-1), interval), "max_keep_ckpts": st.sampled_from([-1, 1, 2]),
            "save_last": st.booleans(), **({} if not by_epoch else {"by_epoch": st.booleans()})})),
        "log_config": {"interval": draw(interval), "hooks": [{"type": "TextLoggerHook"}]},
        "evaluation": draw(st.fixed_dictionaries({
            "interval": interval, "start": st.sampled_from([None, 0, 2]),
            "save_best": st.sampled_from([None, "acc", "loss"]),
        })),
        "workflow": flows,
    }  # fmt: skip
    if values["checkpoint_config"].get("by_epoch") is False:
        values["checkpoint_config"]["max_keep_ckpts"] = -1
    return plan_of(by_epoch, length, **values), draw(st.integers(1, 5))
