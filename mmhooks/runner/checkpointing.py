"""What a runner does with checkpoints: save, load, resume."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import torch

from mmhooks.checkpoint import (
    check_optimizer_state,
    exists,
    get_state_dict,
    is_remote,
    join,
    load_checkpoint,
    load_state_dict,
    optimizer_state,
    plain,
    point_latest_at,
    read_checkpoint,
    revised,
    weights_to_cpu,
    write_checkpoint,
)
from mmhooks.checkpoint.storage import StorageOptions, real_path, split
from mmhooks.checkpoint.weights import WITHOUT_MODULE, ReviseKeys
from mmhooks.checks import check_flag, check_path, check_template
from mmhooks.distributed import get_dist_info, unwrap
from mmhooks.errors import CheckpointError, ConfigError
from mmhooks.hook import Hook
from mmhooks.runner.exact import ExactResume, check_exact


class Position(TypedDict):
    """Where a run is, exactly; MMCV's meta says it in whole epochs, and counts an iteration too few.

    Attributes:
        epochs: train epochs that are finished (iteration-based: the runner's epoch).
        iters: train iterations that are finished.
        in_epoch: how many of them belong to the epoch that is not.
        flow: the flow of the workflow, and how many epochs (or iterations) of it are done.
        loaders: iteration-based, for every flow: passes over its loader, and batches taken of the current one.
        world_size: how many processes share the batches.
    """

    epochs: int
    iters: int
    in_epoch: int
    flow: tuple[int, int]
    loaders: list[tuple[int, int]]
    world_size: int


class Checkpointing(ExactResume):
    """The part of a runner that writes its state to files and takes it from them."""

    optimizer: Any
    meta: dict[str, Any] | None
    _epoch: int
    _iter: int
    _unclaimed: dict[str, torch.Tensor]
    _untold: list[str]
    _hook_states: dict[str, list[Any]]
    writes_files: bool
    #: The file that the run goes on from, if any: a local one by its real path.
    resumed_from: str | None = None
    #: True at after_train_iter, whose iteration is finished and not yet counted.
    _stepped = False
    #: "open" within a train epoch (or the iterations of an iteration-based run), "closing" at after_train_epoch.
    _phase = ""
    #: Of the workflow: see `Position`.
    _flow = (0, 0)
    _loaders: Sequence[Any] = ()
    # of a file that is resumed, until the loop takes it
    _start = (0, 0)
    _in_epoch = 0
    _taken: Sequence[tuple[int, int]] = ()

    # saving -----------------------------------------------------------------------------------------------

    def checkpoint_name(self, filename_tmpl: str | None = None) -> str:
        """Give the file name of a checkpoint that is saved now.

        Args:
            filename_tmpl: the name with ``{}`` for the number; ``epoch_{}.pth`` or ``iter_{}.pth`` by default.
        """
        if self.by_epoch:
            return (filename_tmpl or "epoch_{}.pth").format(self.epoch + 1)
        return (filename_tmpl or "iter_{}.pth").format(self.iter + 1)

    def save_checkpoint(
        self,
        out_dir: str,
        filename_tmpl: str | None = None,
        save_optimizer: bool = True,
        meta: dict[str, Any] | None = None,
        create_symlink: bool = True,
        storage_options: StorageOptions = None,
    ) -> str | None:
        """Write a checkpoint with MMCV's keys: ``meta``, ``state_dict``, ``optimizer``.

        Every process may call it; rank 0 writes.

        Args:
            out_dir: the folder, made when missing, or a place in a store that fsspec reaches (``s3://...``).
            filename_tmpl: the name, with ``{}`` for the number of the epoch (or iteration).
            save_optimizer: include the state of the optimizers.
            meta: more values for the file's ``meta``; what the runner's own meta says goes before them.
            create_symlink: let ``latest.pth`` point at the new file. Remote stores have no links, so nothing there.
            storage_options: arguments of the store, see ``fsspec.filesystem``.

        Raises:
            CheckpointError: it could not be written; a file of that name is as before.
            ConfigError: a name that is none, or a create_symlink that is no bool.
            TypeError: a meta that is no dict, a save_optimizer that is no bool.

        Returns:
            The path of the file, or None where nothing was written.
        """
        if not isinstance(save_optimizer, bool):  # MMCV's IterBasedRunner has meta in this place
            raise TypeError(
                f"save_optimizer must be True or False, not {type(save_optimizer).__name__}; "
                "after filename_tmpl, name the arguments: save_checkpoint(out_dir, meta=..., save_optimizer=...)"
            )
        if meta is not None and not isinstance(meta, dict):
            raise TypeError(f"meta must be a dict or None, not {type(meta).__name__}")
        check_flag("save_checkpoint", "create_symlink", create_symlink)
        if filename_tmpl is not None:
            check_template("save_checkpoint", "filename_tmpl", filename_tmpl, numbered=False)
        folder = check_path("save_checkpoint", "out_dir", out_dir)
        assert folder is not None
        path = join(folder, self.checkpoint_name(filename_tmpl))
        self._write_checkpoint(path, save_optimizer, meta, storage_options)
        if not self.writes_files:
            return None
        if create_symlink and get_dist_info()[0] == 0 and not is_remote(path):
            point_latest_at(path, folder)
        return path

    def _write_checkpoint(
        self, path: str, save_optimizer: bool, meta: dict[str, Any] | None, storage_options: StorageOptions
    ) -> None:
        # no barrier: nobody reads the file, and code that calls this on rank 0 alone must not wait for others
        if get_dist_info()[0] == 0:
            content = self.checkpoint_content(save_optimizer, meta)
            assert content is not None
            content["state_dict"] = weights_to_cpu(content["state_dict"])
            write_checkpoint(content, path, storage_options)

    def checkpoint_content(
        self, save_optimizer: bool = True, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Collect what `save_checkpoint` writes. Every process must call it; rank 0's is the one to write.

        Returns:
            The content, with the tensors of the run themselves; None where only the driver can write it.
        """
        extras = self.checkpoint_extras(save_optimizer, meta)
        return {"meta": extras.pop("meta"), "state_dict": get_state_dict(self.model), **extras}

    def checkpoint_extras(self, save_optimizer: bool = True, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Collect what a checkpoint holds beside the weights.

        Returns:
            ``meta`` as MMCV writes it, ``mmhooks`` with what an exact resume needs beyond it, and
            ``optimizer`` if wanted.
        """
        from mmhooks import __version__

        full = {**(meta or {}), **(self.meta or {})}
        epoch, iteration = self._progress()
        full.update(epoch=epoch, iter=iteration, time=time.asctime(), mmhooks_version=__version__)
        classes = getattr(unwrap(self.model), "CLASSES", None)
        if classes is not None:
            full["CLASSES"] = classes
        extras: dict[str, Any] = {"meta": plain(full), "mmhooks": self._exact_state()}
        if save_optimizer and self.optimizer is not None:
            extras["optimizer"] = optimizer_state(self.optimizer)
        return extras

    def _progress(self) -> tuple[int, int]:
        """Say how far the run is in MMCV's words: the epoch and the iter of a file."""
        return self.epoch + 1, self.iter

    def _exact_state(self) -> dict[str, Any]:
        """Collect what MMCV's meta leaves out."""
        states: dict[str, list[Any]] = {}
        for hook in self.hooks:
            if isinstance(hook, Hook):
                states.setdefault(hook.state_name, []).append(plain(hook.state_dict()))
        position = self._position()
        known: dict[str, Any] = {}
        if position is not None:
            known = {"position": dict(position), "ranks": self._parts(), **self._shared_part()}
        return {"by_epoch": self.by_epoch, **known, "hooks": states}

    def _position(self) -> Position | None:
        """Say where the run is, where the loop is known: a subclass may have one of its own."""
        index, done = self._flow
        in_epoch = self._in_epoch
        if not self.by_epoch:
            done = self.inner_iter + self._stepped if self._phase else done
        elif self._phase == "open":
            in_epoch = self._finished_in_epoch()
        closing = self.by_epoch and self._phase == "closing"
        return {
            "epochs": self.epoch + closing,
            "iters": self.iter + self._stepped,
            "in_epoch": in_epoch,
            "flow": (index, done + closing),
            "loaders": list(self._taken or map(self._taken_of, self._loaders)),
            "world_size": get_dist_info()[1],
        }

    def _finished_in_epoch(self) -> int:
        return self.inner_iter + self._stepped

    def _taken_of(self, loader: Any) -> tuple[int, int]:
        in_hand = loader is self.data_loader and self.data_batch is not None and not self._stepped
        return loader.epoch, loader.taken - in_hand

    # loading ----------------------------------------------------------------------------------------------

    def load_checkpoint(
        self,
        filename: str | os.PathLike[str],
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: ReviseKeys = WITHOUT_MODULE,
        weights_only: bool = True,
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint into the model.

        Args:
            filename: a file of ours, of MMCV or of Lightning: a path, a place in a store that fsspec reaches, or a
                name that `CheckpointLoader` has a loader for.
            map_location: see ``torch.load``.
            strict: refuse weights that do not fit exactly.
            revise_keys: (pattern, replacement) pairs of regular expressions for the names in the file.
            weights_only: False unpickles whatever the file holds, which runs code that the file names.

        Returns:
            The content of the file.

        Raises:
            CheckpointError: the file cannot be read, or does not fit and ``strict`` is set.
            ConfigError: an argument that cannot be used.
        """
        kept, self._unclaimed = self._unclaimed, {}
        try:
            content = load_checkpoint(
                self.model, filename, map_location, strict, self.logger, revise_keys, weights_only
            )
        finally:
            self._unclaimed = kept  # weights to start from bring nothing for hooks
        return content

    def resume(
        self,
        checkpoint: str | os.PathLike[str],
        resume_optimizer: bool = True,
        map_location: Any = "default",
        weights_only: bool = True,
    ) -> None:
        """Go on where a checkpoint was saved: weights, optimizers, epoch, iteration, meta and hook states.

        The iteration of an epoch-based run is rescaled when the config in the file names another number of GPUs
        (its ``gpu_ids``) than there are processes.

        Args:
            checkpoint: the file, see `load_checkpoint`.
            resume_optimizer: take the optimizers' state from the file too.
            map_location: see ``torch.load``. By default the file is read to the CPU, and each value goes from there
                to where its parameter is.
            weights_only: see `load_checkpoint`.

        Raises:
            CheckpointError: the file cannot be read, does not say where the run was, or holds the state of other
                optimizers. The runner is as before then.
            ConfigError: an argument that cannot be used.
        """
        check_flag("resume", "resume_optimizer", resume_optimizer)
        location = "cpu" if isinstance(map_location, str) and map_location == "default" else map_location
        content = read_checkpoint(checkpoint, location, logger=self.logger, weights_only=weights_only)
        meta = content.get("meta")
        absent = [key for key in ("epoch", "iter") if key not in meta] if isinstance(meta, Mapping) else []
        if not isinstance(meta, Mapping) or absent:
            what = f"no {absent[0]!r} in its meta" if absent else "no 'meta'"
            raise CheckpointError(
                f"{checkpoint} does not say where the run was ({what}): "
                "it holds weights to start from, so use load_from instead of resume_from"
            )
        epoch, iteration = int(meta["epoch"]), int(meta["iter"])  # whole floats, perhaps
        with_optimizer = resume_optimizer and "optimizer" in content and self.optimizer is not None
        if with_optimizer:
            check_optimizer_state(self.optimizer, content["optimizer"], checkpoint)
        elif resume_optimizer and self.optimizer is not None:
            self.logger.warning("%s holds no state of an optimizer: it begins anew", checkpoint)

        exact = content.get("mmhooks", {})
        check_exact(exact, checkpoint)
        # of MMCV's own files, what the model has no place for is lost there, so here too
        self._unclaimed = {}
        weights = revised(content["state_dict"], self.model)
        unclaimed = load_state_dict(self.model, weights, logger=self.logger, tell_unexpected=not exact)
        self._unclaimed = {**self._unclaimed, **unclaimed} if exact else {}
        self._untold = [*unclaimed] if exact else []
        self.epoch, self.iter = epoch, iteration
        if not self._go_on_from(exact):
            self.iter = self._rescaled(self.iter, exact, meta)
        self._hook_states = exact.get("hooks", {})
        self.call_table.rebuild()  # the next before_run hands them out
        self.meta = dict(meta)
        self.meta["hook_msgs"] = _moved_along(meta.get("hook_msgs", {}), os.fspath(checkpoint))
        if exact:
            self.model.zero_grad()  # what has been accumulated belongs to other weights
        if with_optimizer:
            self._load_optimizer_state(content["optimizer"])
        self._resumed(content)
        self.resumed_from = real_path(checkpoint)
        self.logger.info("resumed %s at epoch %d, iter %d", checkpoint, self.epoch, self.iter)

    def _go_on_from(self, exact: Mapping[str, Any]) -> bool:
        """Take the position from a file of ours, which MMCV's meta tells only roughly.

        Returns:
            Whether it could be taken: from a run of the other kind it cannot, and with another number of processes a
            batch is another one.
        """
        position = exact.get("position")
        self._start, self._in_epoch, self._taken, self._due = (0, 0), 0, [], None
        if position is None or exact.get("by_epoch") is not self.by_epoch:
            return False
        world_size = get_dist_info()[1]
        same = position["world_size"] == world_size
        if same or not self.by_epoch:
            self.iter = int(position["iters"])  # whole floats, perhaps
        if not same:
            self.logger.warning(
                "the file is of %d processes, and there are %d: a batch is another one, so the run goes on as MMCV "
                "does, with random numbers of its own, and not as one that was not cut",
                position["world_size"],
                world_size,
            )
            return False
        self.epoch, self._in_epoch = int(position["epochs"]), int(position["in_epoch"])
        index, done = position["flow"]
        self._start = self._flow = (int(index), int(done))
        self._taken = [(int(passes), int(taken)) for passes, taken in position["loaders"]]
        self._expect(exact)
        return True

    def _flows(self, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]]) -> Iterator[tuple[Any, str, range]]:
        """Go through the workflow once: a loader, what to do with it, and which epochs (or iterations) of the flow.

        The first time after a resume, from where the file was saved.
        """
        (first, done), self._start = self._start, (0, 0)
        if first >= len(workflow):
            first = done = 0
        for index in range(first, len(workflow)):
            mode, count = workflow[index]
            self._flow = (index, done)
            yield loaders[index], mode, range(min(done, count), count)
            done = 0

    def _rescaled(self, iteration: int, exact: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
        """Count the iterations anew when the number of GPUs has changed; iteration-based runs keep them, as in MMCV."""
        if not self.by_epoch:
            return iteration
        before, now = (
            exact.get("position", {}).get("world_size") or self._gpus_of(meta.get("config")),
            get_dist_info()[1],
        )
        if not before or before == now:
            return iteration
        rescaled = int(iteration * before / now)
        self.logger.info("iteration %d of %d GPUs is iteration %d of %d", iteration, before, rescaled, now)
        return rescaled

    def _gpus_of(self, config: Any) -> int:
        """Count the ``gpu_ids`` in the text of a config, which is read and never run."""
        from mmhooks.config.evaluate import evaluate
        from mmhooks.config.limits import Budget, Refusal

        if not isinstance(config, str) or "gpu_ids" not in config:
            return 0
        try:
            gpu_ids = evaluate(config, "meta['config']", Budget()).values.get("gpu_ids")
            return len(gpu_ids) if gpu_ids else 0
        except (ConfigError, Refusal, RecursionError, OverflowError, TypeError) as error:
            self.logger.warning("the gpu_ids of the file are not known, so the iteration is kept as it is: %s", error)
            return 0

    def _load_optimizer_state(self, state: Any) -> None:
        if isinstance(self.optimizer, Mapping):
            for name, one in self.optimizer.items():
                one.load_state_dict(state[name])
        else:
            self.optimizer.load_state_dict(state)

    def _resumed(self, content: dict[str, Any]) -> None:
        """Tell a driver that the counters have moved."""

    def claim(self, key: str) -> torch.Tensor | None:
        """Hand out a tensor of the resumed file for which the model had no place, once.

        A hook that adds buffers to the model in before_run finds their values here.

        Args:
            key: the name in the file.
        """
        return self._unclaimed.pop(key, None)

    def _tell_unclaimed(self) -> None:
        """Tell of what neither the model nor a hook had a place for, once the hooks have taken theirs."""
        left, self._untold = [key for key in self._untold if key in self._unclaimed], []
        if left:
            self.logger.warning(
                "the weights do not fit the model exactly; neither it nor a hook has a place for: %s", ", ".join(left)
            )

    def _give_hook_states(self) -> None:
        for name, states in self._hook_states.items():
            hooks = [hook for hook in self.hooks if isinstance(hook, Hook) and hook.state_name == name]
            for hook, state in zip(hooks, states, strict=False):
                if state:
                    hook.load_state_dict(state)
        self._hook_states = {}


def _moved_along(messages: Mapping[str, Any], checkpoint: str) -> dict[str, Any]:
    """Let the messages name the files that lie beside the checkpoint, should its folder have been moved or copied."""
    moved = dict(messages)
    if is_remote(checkpoint):
        return moved
    folder, _ = split(os.path.abspath(checkpoint))  # noqa: PTH100  (links stay as they are)
    for key in ("last_ckpt", "best_ckpt"):
        path = moved.get(key)
        if isinstance(path, str) and not is_remote(path):
            beside = join(folder, split(path)[1])
            if exists(beside):
                moved[key] = beside
    return moved
