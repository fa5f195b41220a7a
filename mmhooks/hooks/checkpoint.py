"""CheckpointHook: a file every so often, and the old ones away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.checkpoint import check_writable, is_remote, join, remove, storage_options_of
from mmhooks.checkpoint.storage import StorageOptions, located, split
from mmhooks.checks import check_count, check_flag, check_path, check_template
from mmhooks.distributed import allreduce_params
from mmhooks.errors import CheckpointError, ConfigError
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
        out_dir: a folder other than the runner's work_dir, or a place in a store that fsspec reaches, such as
            ``s3://bucket/runs``; the name of the work_dir is added to it.
        max_keep_ckpts: how many of the files that this hook wrote stay; -1 for all. The oldest is deleted when
            a newer one is safely stored. A resumed run goes on with the record of the one it resumes.
        save_last: save at the end of the run whatever the interval.
        sync_buffer: before saving, average the model's buffers over the processes.
        file_client_args: the store of ``out_dir``: ``dict(backend="disk")``, ``dict(backend="petrel", ...)`` (which
            is ``s3``) or ``dict(backend=<protocol of fsspec>, ...)`` with the arguments of its file system.
        filename_tmpl: the name, with ``{}`` (or ``{:03d}``) for the number; ``epoch_{}.pth`` or ``iter_{}.pth`` by
            the runner.
        create_symlink: let ``latest.pth`` point at the newest file. By default it does in a local folder;
            a remote store has no links.
        meta: more values for the ``meta`` of each file.

    Raises:
        ConfigError: an interval or a max_keep_ckpts that is neither -1 nor a positive integer, a name without a
            number, a store that cannot be used, or an argument of another kind.

    Example:
        >>> runner.register_checkpoint_hook(dict(interval=1, max_keep_ckpts=3))
        >>> runner.register_hook(CheckpointHook(5, out_dir="s3://bucket/runs"))
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        sync_buffer: bool = False,
        file_client_args: Mapping[str, Any] | None = None,
        *,
        filename_tmpl: str | None = None,
        create_symlink: bool | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        name = type(self).__name__
        self.interval = check_count(name, "interval", interval, special={-1: "the last one only"}, whole_floats=True)
        self.max_keep_ckpts = check_count(name, "max_keep_ckpts", max_keep_ckpts, special={-1: "all"})
        self.by_epoch = check_flag(name, "by_epoch", by_epoch)
        self.save_optimizer = check_flag(name, "save_optimizer", save_optimizer)
        self.save_last = check_flag(name, "save_last", save_last)
        self.sync_buffer = check_flag(name, "sync_buffer", sync_buffer)
        if create_symlink is not None:
            check_flag(name, "create_symlink", create_symlink)
        if filename_tmpl is not None:
            check_template(name, "filename_tmpl", filename_tmpl)
        out_dir = check_path(name, "out_dir", out_dir, optional=True)
        if meta is not None and not isinstance(meta, dict):
            raise ConfigError(f"CheckpointHook: meta={meta!r} must be a dict of values for the file, or None")
        self.storage_options = storage_options_of(file_client_args)
        if out_dir:
            located(out_dir, file_client_args)  # wrong now rather than when the run begins
        self.out_dir = out_dir  # from before_run on, as in MMCV, the folder itself
        self.file_client_args = file_client_args
        self.filename_tmpl = filename_tmpl
        self.create_symlink = create_symlink
        self.meta = meta
        self._wanted_dir = out_dir
        self._kept: list[str] = []

    def before_run(self, runner: BaseRunner) -> None:
        """Find the folder."""
        if runner.work_dir is None and not self._wanted_dir:
            raise ConfigError("CheckpointHook has nowhere to write: give the runner a work_dir, or the hook an out_dir")
        self.out_dir = resolve_out_dir(self._wanted_dir, runner.work_dir, self.file_client_args)
        if self.create_symlink and is_remote(self.out_dir):
            runner.logger.warning("create_symlink=True: %s has no links, so no latest.pth is written", self.out_dir)
        check_folder(runner, self, self.out_dir, self._wanted_dir, self.storage_options)
        runner.logger.info("Checkpoints will be saved to %s", self.out_dir)

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
        if self.sync_buffer:
            allreduce_params(runner.model.buffers())
        runner.gather_ranks()  # every rank comes here, though rank 0 alone may write
        self._save_checkpoint(runner)

    def _save_checkpoint(self, runner: BaseRunner) -> None:
        """Write a file, and delete what is one too many; a subclass may override it, as in MMCV."""
        assert self.out_dir is not None
        before = list(self._kept)
        name = runner.checkpoint_name(self.filename_tmpl)
        # the record travels inside the file, so the file that is being written belongs to it already
        self._kept = [*(kept for kept in self._kept if kept != name), name]
        surplus = self._kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        self._kept = self._kept[len(surplus) :]
        written = False
        try:
            runner.save_checkpoint(self.out_dir, **self._arguments(self.out_dir))
            written = runner.writes_files
        finally:
            if not written:
                self._kept = before
        if not written:
            return
        if runner.meta is not None:
            runner.meta.setdefault("hook_msgs", {})["last_ckpt"] = join(self.out_dir, name)
        if runner.rank == 0:
            for old in surplus:
                self._remove(runner, join(self.out_dir, old))

    def _arguments(self, folder: str) -> dict[str, Any]:
        linked = self.create_symlink is not False and not is_remote(folder)
        arguments = {"save_optimizer": self.save_optimizer, "create_symlink": linked}
        more = {"filename_tmpl": self.filename_tmpl, "meta": self.meta, "storage_options": self.storage_options}
        return arguments | {key: value for key, value in more.items() if value}

    def _remove(self, runner: BaseRunner, path: str) -> None:
        try:
            remove(path, self.storage_options)
        except (CheckpointError, OSError) as error:  # a file too many is no reason to end a run
            runner.logger.warning("an old checkpoint stays: %s", error)

    @property
    def state_name(self) -> str:
        """Names the files too: a hook that writes others has another record."""
        return " ".join(filter(None, (super().state_name, self.filename_tmpl, self._wanted_dir)))

    def state_dict(self) -> dict[str, Any]:
        """Give the names of the files that this hook wrote and kept."""
        return {"kept": list(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the record of an earlier run."""
        self._kept = list(state["kept"])


def check_folder(
    runner: BaseRunner, hook: Hook, folder: str, wanted_dir: str | None, storage_options: StorageOptions
) -> None:
    """See, before a run begins, that a hook's files can be written.

    Args:
        runner: its rank 0 looks, unless it writes nothing at all.
        hook: whose files.
        folder: where they go.
        wanted_dir: the hook's own ``out_dir``, if that is why they go there.
        storage_options: arguments of the store.

    Raises:
        ConfigError: nothing can be written there.
    """
    if runner.rank == 0 and runner.writes_files:
        place = f"{type(hook).__name__}'s out_dir" if wanted_dir else "work_dir"
        check_writable(folder, storage_options, argument=place)


def resolve_out_dir(
    out_dir: str | None, work_dir: str | None, file_client_args: Mapping[str, Any] | None = None
) -> str:
    """Give the folder of a hook's files: the work_dir, or its name below an ``out_dir``.

    Args:
        out_dir: a folder, or a place in a store such as ``s3://bucket/runs``.
        work_dir: the runner's.
        file_client_args: the store, with a ``path_mapping`` perhaps.

    Example:
        >>> resolve_out_dir("s3://bucket/runs", "/home/me/work/resnet")
        's3://bucket/runs/resnet'
    """
    folder = str(out_dir or work_dir)
    if work_dir is not None and folder != work_dir:
        folder = join(folder, split(work_dir.rstrip("/"))[1])
    return located(folder, file_client_args)
