"""CheckpointHook: a file every so often, and the old ones away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmhooks.errors import ConfigError
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save checkpoints by epoch or by iteration.

    Args:
        interval: every so many epochs (or iterations); -1 for the last one only.
        by_epoch: count epochs; otherwise iterations.
        save_optimizer: include the state of the optimizers.
        out_dir: a folder other than the runner's work_dir; the name of the work_dir is added to it.
        max_keep_ckpts: how many of the files that this hook wrote stay; -1 for all. The oldest is deleted when
            a newer one is safely on the disk. A resumed run goes on with the record of the one it resumes.
        save_last: save at the end of the run whatever the interval.
        filename_tmpl: the name, with ``{}`` for the number; ``epoch_{}.pth`` or ``iter_{}.pth`` by the runner.
        create_symlink: let ``latest.pth`` point at the newest file.

    Raises:
        ConfigError: an interval or a max_keep_ckpts of 0.
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        filename_tmpl: str | None = None,
        create_symlink: bool = True,
    ) -> None:
        if interval == 0 or max_keep_ckpts == 0:
            raise ConfigError(
                f"CheckpointHook(interval={interval}, max_keep_ckpts={max_keep_ckpts}): write -1 for 'last only' "
                "and 'keep all', or a positive number"
            )
        if filename_tmpl is not None and "{}" not in filename_tmpl:
            raise ConfigError(f"filename_tmpl={filename_tmpl!r} has no {{}} for the number, as in 'epoch_{{}}.pth'")
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.filename_tmpl = filename_tmpl
        self.create_symlink = create_symlink
        self._folder: Path | None = None
        self._kept: list[str] = []

    def before_run(self, runner: BaseRunner) -> None:
        """Find the folder."""
        if runner.work_dir is None and self.out_dir is None:
            raise ConfigError("CheckpointHook has nowhere to write: give the runner a work_dir, or the hook an out_dir")
        self._folder = resolve_out_dir(self.out_dir, runner.work_dir)
        runner.logger.info("Checkpoints will be saved to %s", self._folder)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Save when an epoch is due."""
        if self.by_epoch and (
            self.every_n_epochs(runner, self.interval) or (self.save_last and self.is_last_epoch(runner))
        ):
            self._save(runner, f"{runner.epoch + 1} epochs")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Save when an iteration is due."""
        if not self.by_epoch and (
            self.every_n_iters(runner, self.interval) or (self.save_last and self.is_last_iter(runner))
        ):
            self._save(runner, f"{runner.iter + 1} iterations")

    def _save(self, runner: BaseRunner, when: str) -> None:
        runner.logger.info("Saving checkpoint at %s", when)
        assert self._folder is not None
        before = list(self._kept)
        name = runner.checkpoint_name(self.filename_tmpl)
        # the record travels inside the file, so the file that is being written belongs to it already
        self._kept = [*(kept for kept in self._kept if kept != name), name]
        surplus = self._kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        self._kept = self._kept[len(surplus) :]
        try:
            path = runner.save_checkpoint(
                str(self._folder),
                filename_tmpl=self.filename_tmpl,
                save_optimizer=self.save_optimizer,
                create_symlink=self.create_symlink,
            )
        except BaseException:
            self._kept = before
            raise
        if path is None:
            self._kept = before
            return
        if runner.meta is not None:
            runner.meta.setdefault("hook_msgs", {})["last_ckpt"] = path
        if runner.rank == 0:
            for old in surplus:
                (self._folder / old).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Give the names of the files that this hook wrote and kept."""
        return {"kept": list(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the record of an earlier run."""
        self._kept = list(state["kept"])


def resolve_out_dir(out_dir: str | None, work_dir: str | None) -> Path:
    """Give the folder of a hook's files: the work_dir, or its name below an ``out_dir``."""
    if not out_dir or out_dir == work_dir:
        assert work_dir is not None
        return Path(work_dir)
    return Path(out_dir) / Path(work_dir).name if work_dir is not None else Path(out_dir)
