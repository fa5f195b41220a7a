"""CheckpointHook: a file every so often, and the old ones away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmhooks.checkpoint import (
    check_writable,
    is_remote,
    join,
    point_latest_at,
    remove,
    storage_options_of,
    write_checkpoint,
)
from mmhooks.checkpoint.background import Background
from mmhooks.checkpoint.snapshot import Snapshot, expected_size
from mmhooks.checkpoint.storage import StorageOptions, located, real_path, split
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
            a newer one is safely stored. A resumed run goes on with the record of the one it resumes. The file that it
            goes on from and the best one stay besides.
        save_last: save at the end of the run whatever the interval.
        sync_buffer: before saving, average the model's buffers over the processes.
        file_client_args: the store of ``out_dir``: ``dict(backend="disk")``, ``dict(backend="petrel", ...)`` (which
            is ``s3``) or ``dict(backend=<protocol of fsspec>, ...)`` with the arguments of its file system.
        filename_tmpl: the name, with ``{}`` (or ``{:03d}``) for the number; ``epoch_{}.pth`` or ``iter_{}.pth`` by
            the runner.
        create_symlink: let ``latest.pth`` point at the newest file. By default it does in a local folder;
            a remote store has no links.
        meta: more values for the ``meta`` of each file.
        on_error: ``"raise"`` ends the run when a file could not be written; ``"warn"`` says so in the log and goes
            on. The files before it are untouched in either case.
        async_save: stop the loop for a copy of the state alone, and write it in a thread meanwhile. The copy takes as
            much memory of the host as the file. ``latest.pth`` and deletions follow when the file is on the disk; an
            error is raised (or warned of) at the next iteration, and before_run, a next save and the end of the run
            wait for the write.

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
        on_error: str = "raise",
        async_save: bool = False,
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
            if filename_tmpl.endswith(".safetensors"):
                raise ConfigError(
                    f"{name}'s filename_tmpl={filename_tmpl!r} names files that hold weights alone, from which no run "
                    "goes on: write '.pth', and `mmhooks checkpoint convert` makes such a file of the last one"
                )
        out_dir = check_path(name, "out_dir", out_dir, optional=True)
        if meta is not None and not isinstance(meta, dict):
            raise ConfigError(f"CheckpointHook: meta={meta!r} must be a dict of values for the file, or None")
        if on_error not in ("raise", "warn"):
            raise ConfigError(f"{name}'s on_error must be 'raise' or 'warn', not {on_error!r}")
        self.on_error = on_error
        self.async_save = check_flag(name, "async_save", async_save)
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
        self._kept_in: str | None = None
        self._writer: BackgroundSave | None = None

    def before_run(self, runner: BaseRunner) -> None:
        """Find the folder, and get ready to write beside the run."""
        if runner.work_dir is None and not self._wanted_dir:
            raise ConfigError("CheckpointHook has nowhere to write: give the runner a work_dir, or the hook an out_dir")
        self.out_dir = resolve_out_dir(self._wanted_dir, runner.work_dir, self.file_client_args)
        if self.create_symlink and is_remote(self.out_dir):
            runner.logger.warning("create_symlink=True: %s has no links, so no latest.pth is written", self.out_dir)
        check_folder(runner, self, self.out_dir, self._wanted_dir, self.storage_options)
        runner.logger.info("Checkpoints will be saved to %s", self.out_dir)
        if self.async_save:
            self._settle(runner)
            if self._writer is None:
                self._writer = BackgroundSave()
            self._writer.get_ready(runner, self.save_optimizer)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Save when an epoch is due."""
        self._settle(runner, only_finished=True)
        if self.by_epoch and (
            self.every_n_epochs(runner, self.interval) or (self.save_last and self.is_last_epoch(runner))
        ):
            self._save(runner, f"{runner.epoch + 1} epochs")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Save when an iteration is due."""
        if self._writer is not None:
            self._settle(runner, only_finished=True)
        if not self.by_epoch and (
            self.every_n_iters(runner, self.interval) or (self.save_last and self.is_last_iter(runner))
        ):
            self._save(runner, f"{runner.iter + 1} iterations")

    def after_run(self, runner: BaseRunner) -> None:
        """Wait for what is still being written."""
        self._settle(runner)

    def _save(self, runner: BaseRunner, when: str) -> None:
        runner.logger.info("Saving checkpoint at %s", when)
        if self.sync_buffer:
            allreduce_params(runner.model.buffers())
        runner.gather_ranks()  # every rank comes here, though rank 0 alone may write
        self._save_checkpoint(runner)

    def _save_checkpoint(self, runner: BaseRunner) -> None:
        """Write a file, and delete what is one too many; a subclass may override it, as in MMCV."""
        assert self.out_dir is not None
        self._settle(runner)
        before = self._record(runner)
        name = runner.checkpoint_name(self.filename_tmpl)
        # the record travels inside the file, so the file that is being written belongs to it already
        names = [*(kept for kept in before if kept != name), name]
        surplus = self._surplus(runner, names)
        self._kept = [kept for kept in names if kept not in surplus]
        self._kept_in = real_path(self.out_dir)
        save = _Save(join(self.out_dir, name), before, [join(self.out_dir, old) for old in surplus])
        try:
            begun = self._writer is not None and self._writer.begin(runner, self, save)
            if not begun:
                runner.save_checkpoint(self.out_dir, **self._arguments(self.out_dir))
        except CheckpointError as error:
            self._fail(runner, save, error)
            return
        except BaseException:
            self._kept = before
            raise
        if begun:
            return
        if not runner.writes_files:
            self._kept = before
            return
        self._note(runner, save)
        if runner.rank == 0:
            self.remove_all(runner, save.surplus)

    def _settle(self, runner: BaseRunner, only_finished: bool = False) -> None:
        """See how the write in the background has ended; at an iteration, if it has."""
        if self._writer is None or self._writer.save is None or (only_finished and self._writer.busy):
            return
        save, error = self._writer.finish()
        if error is None:
            self._note(runner, save)
        elif isinstance(error, CheckpointError):
            self._fail(runner, save, error)
        else:
            self._kept = save.before
            raise error

    def _note(self, runner: BaseRunner, save: _Save) -> None:
        if runner.meta is not None:
            runner.meta.setdefault("hook_msgs", {})["last_ckpt"] = save.path

    def _fail(self, runner: BaseRunner, save: _Save, error: CheckpointError) -> None:
        self._kept = save.before
        newest = join(str(self.out_dir), self._kept[-1]) if self._kept else None
        kept = f"The newest checkpoint is {newest}" if newest else "There is no older checkpoint of this run"
        if self.on_error == "raise":
            raise CheckpointError(f"{error}. {kept}") from error
        runner.logger.warning("%s. %s; the run goes on, since on_error='warn'", error, kept)

    def _record(self, runner: BaseRunner) -> list[str]:
        """Give the names that this hook wrote here; those that a resumed file brings from another folder are not."""
        assert self.out_dir is not None
        here = real_path(self.out_dir)
        if self._kept_in not in (None, here):
            resumed = runner.resumed_from
            if resumed is None or split(resumed)[0] != here:  # else the whole folder has been moved or copied
                return []
        return list(self._kept)

    def _surplus(self, runner: BaseRunner, names: list[str]) -> list[str]:
        """Choose what is to be deleted: never the file that the run goes on from, nor the best one."""
        if self.max_keep_ckpts < 0:
            return []
        assert self.out_dir is not None
        best = (runner.meta or {}).get("hook_msgs", {}).get("best_ckpt")
        spared = {runner.resumed_from, real_path(best) if isinstance(best, str) else None}
        old = names[: -self.max_keep_ckpts]
        return [name for name in old if real_path(join(self.out_dir, name)) not in spared]

    def _arguments(self, folder: str) -> dict[str, Any]:
        linked = self.create_symlink is not False and not is_remote(folder)
        arguments = {"save_optimizer": self.save_optimizer, "create_symlink": linked}
        more = {"filename_tmpl": self.filename_tmpl, "meta": self.meta, "storage_options": self.storage_options}
        return arguments | {key: value for key, value in more.items() if value}

    def remove_all(self, runner: BaseRunner, paths: Sequence[str]) -> None:
        """Delete old files; one that cannot be deleted is a line in the log."""
        for path in paths:
            try:
                remove(path, self.storage_options)
            except (CheckpointError, OSError) as error:  # a file too many is no reason to end a run
                runner.logger.warning("an old checkpoint stays: %s", error)

    @property
    def state_name(self) -> str:
        """Names the files too: a hook that writes others has another record."""
        return " ".join(filter(None, (super().state_name, self.filename_tmpl, self._wanted_dir)))

    def state_dict(self) -> dict[str, Any]:
        """Give the names of the files that this hook wrote and kept, and where they are."""
        return {"kept": list(self._kept), "folder": self._kept_in}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the record of an earlier run."""
        self._kept = list(state["kept"])
        self._kept_in = state.get("folder")


class _Save(NamedTuple):
    """One file that is being written.

    Attributes:
        path: its name.
        before: the record without it.
        surplus: the files that are deleted when it is on the disk.
    """

    path: str
    before: list[str]
    surplus: list[str]


class BackgroundSave:
    """Writes checkpoints of a hook in a thread, one at a time, from a copy of the state."""

    def __init__(self) -> None:
        self._background = Background("mmhooks checkpoint")
        self._snapshot: Snapshot | None = None
        self.save: _Save | None = None

    @property
    def busy(self) -> bool:
        """Whether a file is being written."""
        return self._background.busy

    def get_ready(self, runner: BaseRunner, save_optimizer: bool) -> None:
        """Make the memory for the copy, on the rank that writes."""
        if runner.rank != 0 or not runner.writes_files:
            return
        on_gpu = any(parameter.is_cuda for parameter in runner.model.parameters())
        if self._snapshot is None:
            self._snapshot = Snapshot(pinned=on_gpu)
        optimizers = list(runner.optimizer.values()) if isinstance(runner.optimizer, Mapping) else [runner.optimizer]
        known = [one for one in optimizers if save_optimizer and hasattr(one, "param_groups")]
        self._snapshot.reserve(expected_size(runner.model, known))

    def begin(self, runner: BaseRunner, hook: CheckpointHook, save: _Save) -> bool:
        """Copy the state and begin to write it.

        Returns:
            False where only the runner can write its files.
        """
        arguments = hook._arguments(str(hook.out_dir))
        own = type(runner).save_checkpoint is not BaseRunner.save_checkpoint or "save_checkpoint" in vars(runner)
        if own or not runner.writes_files:
            return False
        content = runner.checkpoint_content(hook.save_optimizer, hook.meta)
        if content is None:
            return False
        self.save = save
        if runner.rank == 0:
            assert self._snapshot is not None
            copied = self._snapshot.take(content)
            self._background.start(lambda: self._write(runner, hook, save, copied, arguments["create_symlink"]))
        return True

    def _write(self, runner: BaseRunner, hook: CheckpointHook, save: _Save, content: Any, linked: bool) -> None:
        try:
            write_checkpoint(content, save.path, hook.storage_options)
            if linked:
                point_latest_at(save.path, str(hook.out_dir))
        except CheckpointError as error:
            runner.logger.warning("%s", error)  # the run may come to no other point
            raise
        hook.remove_all(runner, save.surplus)

    def finish(self) -> tuple[_Save, BaseException | None]:
        """Wait for the file, and give what it was and the error that ended it."""
        assert self.save is not None
        save, self.save = self.save, None
        return save, self._background.wait()


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
