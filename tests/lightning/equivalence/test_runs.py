"""Many hooks at once in the settings that runs differ in: workflows, loaders, optimizers, models, a Trainer's own."""

import pytest
from both.cases import case
from both.compare import DRIVERS, check
from both.forms import checkered
from both.hooks import CLIP, EPOCHS, ITERATIONS, KINDS, WATCHED
from both.record import record

from mmhooks.checkpoint import read_checkpoint

MANY = {
    "training": {
        "lr_config": {"policy": "poly", "power": 0.9, "warmup": "linear", "warmup_iters": 4},
        "momentum_config": {"policy": "cyclic", "by_epoch": False},
        "optimizer_config": {
            "type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3, "grad_clip": CLIP,
        },
        **WATCHED,
    },
    "hooks": [
        {"type": "EMAHook", "momentum": 0.1, "swap_interval": 4, "priority": "ABOVE_NORMAL"},
        {"type": "EvalHook", "data": {"size": 13, "seed": 3}, "save_best": "acc", "priority": "LOW"},
        {"type": "OwnLogger", "interval": 3, "priority": "VERY_LOW"},
        {"type": "Everything", "priority": "HIGHEST"},
    ],
}  # fmt: skip

BY_EPOCH = {
    "train 1": {"workflow": [("train", 1)]},
    "train 3": {"workflow": [("train", 3)]},
    "train 1, val 1": {"workflow": [("train", 1), ("val", 1)]},
    "train 2, val 1": {"workflow": [("train", 2), ("val", 1)]},
    "train 3, val 1": {"workflow": [("train", 3), ("val", 1)], "length": 4},
    "train 5, val 1": {"workflow": [("train", 5), ("val", 1)]},
    "one epoch of one iteration": {"train": {"size": 8}, "length": 1},
    "epochs of one iteration": {"train": {"size": 8}, "length": 4, "workflow": [("train", 2), ("val", 1)]},
    "no epoch": {"length": 0, "workflow": [("train", 1), ("val", 1)]},
}
BY_ITERATION = {
    "train 1": {"workflow": [("train", 1)]},
    "train 4": {"workflow": [("train", 4)]},
    "train 1, val 1": {"workflow": [("train", 1), ("val", 1)]},
    "train 5, val 2": {"workflow": [("train", 5), ("val", 2)], "length": 10},
    "train 12, val 7": {"workflow": [("train", 12), ("val", 7)]},
    "train 3, val 5": {"workflow": [("train", 3), ("val", 5)]},
    "one iteration": {"length": 1},
    "no iteration": {"length": 0},
    "as many as an epoch": {"length": 4, "workflow": [("train", 4), ("val", 3)]},
    "one batch": {"train": {"size": 8}, "length": 5},
}
#: arguments of the loaders
LOADERS = {
    "in order": ({}, {}),
    "shuffled, val too": ({"shuffle": True}, {"shuffle": True, "size": 21}),
    "a generator of its own": ({"shuffle": True, "own_generator": True}, {"shuffle": True, "own_generator": True}),
    "drop_last": ({"shuffle": True, "drop_last": True}, {"drop_last": True}),
    "a batch_sampler": ({"sampler": "batch", "own_generator": True}, {"sampler": "batch"}),
    "a random sampler": ({"sampler": "random", "drop_last": True}, {"sampler": "random"}),
    "a distributed sampler": ({"sampler": "distributed", "size": 40}, {"sampler": "distributed"}),
    "no DataLoader": ({"kind": "batches", "size": 29}, {"kind": "batches", "size": 21}),
    "containers": ({"kind": "contained"}, {"kind": "contained"}),
    "fewer batches than it says": ({"kind": "fewer"}, {"kind": "fewer"}),
    "a worker": ({"shuffle": True, "num_workers": 1}, {"num_workers": 1}),
    "workers that stay": (
        {"shuffle": True, "num_workers": 2, "persistent_workers": True, "own_generator": True},
        {"shuffle": True, "num_workers": 1, "persistent_workers": True},
    ),
}
ENDLESS = {
    "a stream": ({"kind": "stream", "size": None}, {"size": 21}),
    "a stream that ends": ({"kind": "stream", "size": 24}, {"kind": "stream", "size": 19}),
    "a stream in a worker": ({"kind": "stream", "size": 24, "num_workers": 1}, {"kind": "stream", "size": 19}),
}
OPTIMIZERS = {
    "SGD": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"type": "Adam", "lr": 0.01, "betas": (0.8, 0.99)},
    "AdamW": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.1},
    "RMSprop": {"type": "RMSprop", "lr": 0.01, "momentum": 0.5},
    "NAdam": {"type": "NAdam", "lr": 0.01},
    "paramwise": {
        "type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1,
        "paramwise_cfg": {"bias_lr_mult": 2.0, "norm_decay_mult": 0.0, "custom_keys": {"last": {"lr_mult": 0.1}}},
    },
}  # fmt: skip
SEVERAL = {
    "model": "stepping",
    "training": {"optimizer_config": None},
    "optimizer": {
        "first": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "last": {"type": "Adam", "lr": 0.01},
    },
}
TRAINERS = {
    "without a sanity check": {"trainer": {"num_sanity_val_steps": 0}},
    "with a sanity check of all": {"trainer": {"num_sanity_val_steps": -1}},
    "in inference mode": {"trainer": {"inference_mode": True}},
    "with a benchmark of kernels": {"trainer": {"benchmark": True}},
    "with anomaly detection": {"trainer": {"detect_anomaly": True}},
    "with its own sampler": {"trainer": {"use_distributed_sampler": True}},
}


@pytest.mark.parametrize("name", BY_EPOCH)
def test_epoch_based(name):
    check(case(MANY, BY_EPOCH[name]))


@pytest.mark.parametrize("name", BY_ITERATION)
def test_iteration_based(name):
    check(case(ITERATIONS, MANY, BY_ITERATION[name]))


@checkered("name, kind", LOADERS, KINDS)
def test_loaders(name, kind):
    train, val = LOADERS[name]
    check(case(kind, MANY, train={"size": 29, **train}, val={"size": 21, "seed": 2, **val}))


@pytest.mark.parametrize("name", ENDLESS)
def test_loaders_without_a_length(name):
    train, val = ENDLESS[name]
    check(case(ITERATIONS, MANY, train=train, val=val))


@checkered("name, kind", OPTIMIZERS, KINDS)
def test_optimizers(name, kind):
    check(case(kind, MANY, optimizer=OPTIMIZERS[name], given_as="config" if kind is EPOCHS else "optimizer"))


@checkered("given_as, kind", ["optimizer", "config"], KINDS)
def test_several_optimizers(given_as, kind):
    check(case(kind, MANY, SEVERAL, given_as=given_as))


@checkered("model, kind", ["mixed", "frozen", "normed"], KINDS)
def test_models(model, kind):
    check(case(kind, MANY, model=model))


@checkered("kind", KINDS)
def test_a_model_that_logs_nothing(kind):
    check(case(kind, model="sparse", hooks=[{"type": "OwnLogger", "interval": 2, "priority": 90}]))


@checkered("name", TRAINERS)
def test_settings_of_the_trainer(name):
    check(case(EPOCHS, MANY, TRAINERS[name]))


@checkered("kind", KINDS)
def test_what_reaches_train_step(kind):
    check(case(kind, MANY, step_kwargs={"scale": 0.5}))


@pytest.mark.parametrize("workflow", [[("train", 1)], [("train", 1), ("val", 1)]], ids=str)
def test_a_workflow_that_the_trainer_says(workflow):
    check(case(MANY, said=False, workflow=workflow))


def test_no_workflow_in_iterations():
    check(case(ITERATIONS, MANY, said=False, workflow=[("train", 1)]))


@checkered("kind", KINDS)
def test_without_meta(kind):
    check(case(kind, MANY, meta=None))


def test_what_files_say_of_a_stopped_run(tmp_path):
    """The numbers themselves: that both drivers say the same is compared everywhere."""
    places = [("saves", "before_train_iter", 3), ("saves", "after_train_iter", 6), ("stops", "after_train_iter", 6),
              ("saves", "after_run", 0)]  # fmt: skip
    deeds = [{"type": "Deed", "deed": d, "point": p, "at": at, "priority": "VERY_HIGH"} for d, p, at in places]
    stopped = case(length=20, by_epoch=False, training={"checkpoint_config": {"interval": 50}}, hooks=deeds)
    for driver in DRIVERS:
        assert record(driver, stopped, tmp_path / driver).error is None
        files = (tmp_path / driver).glob("*.pth")
        finished = {path.stem: read_checkpoint(path)["mmhooks"]["position"]["iters"] for path in files}
        assert finished == {"by_hand_4": 3, "by_hand_7": 7, "iter_7": 7, "latest": 7, "by_hand_8": 7}, driver
