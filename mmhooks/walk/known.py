"""What is known of hooks that code bases define, in the releases whose recipes there are."""

from __future__ import annotations

#: The points at which they do something, and how often; for hooks that are not here it is not known.
POINTS_OF: dict[str, dict[str, str]] = {
    "NumClassCheckHook": {"before_train_epoch": "each epoch", "before_val_epoch": "each epoch"},
    "ClassNumCheckHook": {
        "before_train_epoch": "each epoch",
        "before_train_iter": "every iteration",
        "before_val_epoch": "each epoch",
        "before_val_iter": "every iteration",
    },
    "SetEpochInfoHook": {"before_train_epoch": "each epoch"},
    "ModelSetEpochHook": {"before_epoch": "each epoch"},
    "YOLOXModeSwitchHook": {"before_train_epoch": "once, {num_last_epochs} epochs before the end"},
    "SyncNormHook": {"before_train_epoch": "each epoch", "after_train_epoch": "every {interval} epochs"},
    "SyncRandomSizeHook": {"after_train_epoch": "every {interval} epochs"},
    "ExpMomentumEMAHook": {
        "before_run": "once",
        "before_train_epoch": "each epoch",
        "after_train_iter": "every iteration",
        "after_train_epoch": "each epoch",
    },
    "LinearMomentumEMAHook": {
        "before_run": "once",
        "before_train_epoch": "each epoch",
        "after_train_iter": "every iteration",
        "after_train_epoch": "each epoch",
    },
    "MemoryProfilerHook": {"after_iter": "every {interval} iterations"},
    "PreciseBNHook": {"after_train_epoch": "every {interval} epochs"},
}

#: Those of any logger, as `LoggerHook` has them.
LOGGER_POINTS = {
    "before_run": "once",
    "before_epoch": "each epoch",
    "after_train_iter": "every {interval} iterations",
    "after_train_epoch": "each epoch",
    "after_val_epoch": "each epoch",
    "after_run": "once",
}

#: Those of any updater.
UPDATER_POINTS = {
    "before_run": "once",
    "before_train_epoch": "each epoch",
    "before_train_iter": "every iteration",
}

#: Names (or parts of them) by which mmpose tells whether a greater value is better.
MMPOSE_GREATER = ("acc", "ap", "ar", "pck", "auc", "3dpck", "p-3dpck", "3dauc", "p-3dauc", "pcp")
MMPOSE_LESS = ("loss", "epe", "nme", "mpjpe", "p-mpjpe", "n-mpjpe")
