"""DistEvalHook in two real processes; what they do is in two_ranks.py."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmhooks import ConfigError, DistEvalHook

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import run_ranks


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Give what each rank saw, and the folder of both."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([folder, folder], Path(__file__).with_name("two_ranks.py"), folder)
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(2)], folder


@pytest.fixture
def ranks(seen):
    """Give what the two ranks saw of a scenario."""
    return lambda name: [rank[name] for rank in seen[0]]


@pytest.mark.parametrize(
    "way", ["memory", "files", "files in a folder that was there", "process group", "unpadded", "rank 0 judges"]
)
def test_rank_0_gets_all_results_in_order(ranks, way):
    zero, one = ranks(way)
    assert zero["asked"] == [list(range(7))] * len(zero["asked"])
    assert len(zero["asked"]) >= 1
    assert one["asked"] == []
    assert zero["iter"] == one["iter"] == 2 * len(zero["asked"])


def test_the_value_is_that_of_one_process(ranks):
    zero, one = ranks("memory")
    assert zero["output"] == {"eval_iter_num": 2, "acc": zero["alone"] + 2}
    assert one["output"] == {}


def test_a_data_set_smaller_than_the_world(ranks):
    assert ranks("one sample")[0]["asked"] == [[0]]


@pytest.mark.parametrize("way", ["memory", "files", "rank 0 judges"])
def test_every_rank_knows_the_best_and_rank_0_writes_it(ranks, way):
    zero, one = ranks(way)
    assert zero["best"] == one["best"]
    assert zero["best"][1] == "best_acc_epoch_2.pth"
    assert zero["saves"] == one["saves"] == ["best_acc_epoch_1.pth", "best_acc_epoch_2.pth"]
    assert zero["files"] == ["best_acc_epoch_2.pth"]
    assert one["files"] == []


@pytest.mark.parametrize("way", ["memory", "rank 0 judges"])
def test_the_best_file_holds_the_random_numbers_of_every_rank(seen, way):
    folder = seen[1] / {"memory": "memory", "rank 0 judges": "zero"}[way] / "0"
    assert len(torch.load(folder / "best_acc_epoch_2.pth")["mmhooks"]["ranks"]) == 2


def test_a_native_runner_saves_without_the_other_ranks(ranks):
    assert ranks("agreed") == [{"value": None}, {"value": "of rank 1"}]


def test_by_iteration(ranks):
    zero, one = ranks("iterations")
    assert zero["asked"] == [list(range(7))] * 2
    assert zero["files"] == [zero["best"][1]] == ["best_acc_iter_6.pth"]
    assert (one["files"], one["best"], one["iter"]) == ([], zero["best"], 7)


def test_files_of_results_are_gone(seen, ranks):
    _, folder = seen
    ranks("files")
    assert not (folder / "made" / "here").exists()
    assert list((folder / "kept").iterdir()) == []


@pytest.mark.parametrize("name", ["exact", "even"])
def test_metrics_of_all_ranks_are_those_of_one_process(ranks, name):
    zero, one = ranks(f"metrics, {name}")
    assert zero["output"] == one["output"]
    assert zero["output"]["acc"] == pytest.approx(zero["alone"])
    assert zero["files"] == ["best_acc_epoch_1.pth"]
    assert (one["files"], one["best"]) == ([], zero["best"])


def test_a_padding_sampler_counts_a_sample_twice(ranks):
    """8 samples are counted of 7: the first one comes twice."""
    zero, _ = ranks("metrics, padded")
    right = round(zero["alone"] * 7)
    assert zero["output"]["acc"] in (pytest.approx(right / 8), pytest.approx((right + 1) / 8))
    assert zero["output"]["acc"] != pytest.approx(zero["alone"])


def test_statistics_of_batch_norm_are_those_of_rank_0(ranks):
    zero, one = ranks("statistics")
    assert zero == one
    own_zero, own_one = ranks("own statistics")
    assert own_zero == zero
    assert own_one["mean"] != zero["mean"]


def test_an_own_test_function_gets_mmcvs_arguments(seen, ranks):
    _, folder = seen
    for rank, view in enumerate(ranks("own test")):
        assert view["told"] == [
            {"tmpdir": str(folder / "own" / str(rank) / ".eval_hook"), "gpu_collect": True},
            {"tmpdir": "mine", "gpu_collect": False},
        ]


def test_measured_outside_of_a_run(ranks):
    zero, one = ranks("measured")
    assert zero["values"] == {"acc": zero["alone"] + 1}
    assert one["values"] == {}


def test_an_eval_hook_does_all_the_work_in_each_process(ranks):
    assert [view["asked"] for view in ranks("not shared")] == [[list(range(7))]] * 2
    (said,) = ranks("warnings")[0]["said"]
    assert said.startswith("EvalHook goes through the whole loader in each of 2 processes")
    assert said.endswith("use DistEvalHook")


def test_a_loader_that_deals_nothing_out(ranks):
    zero, one = ranks("not dealt out")
    assert re.match(
        r"HookError: each of the 2 processes has results of all 7 samples.*DistributedSampler", zero["found"]
    )
    assert one["found"] is None


@pytest.mark.parametrize("way", ["plain", "subclass", "unsaved"])
def test_a_failure_of_the_evaluation_ends_all_ranks(ranks, way):
    zero, one = ranks(f"failing, {way}")
    assert zero["found"] == "KeyError: 'no such sample'"
    assert one["found"] == (
        "HookError: the evaluation failed on rank 0, so rank 1 ends too: KeyError: 'no such sample'"
    )
    assert zero["met"] == one["met"] == 2


def test_a_failure_that_all_ranks_meet_is_told_by_each(ranks):
    zero, one = ranks("failing, metrics")
    assert zero == one
    assert zero["found"].startswith("HookError: DistEvalHook(save_best='accc'), but the evaluation gave acc")


def test_a_tmpdir_that_is_none(ranks):
    zero, one = ranks("no folder")
    assert zero == one
    assert re.match(r"ConfigError: tmpdir='.*a file' cannot hold the results", zero["found"])


def test_a_file_that_its_process_did_not_write_is_not_read(ranks):
    zero, one = ranks("tampered")
    assert re.match(r"HookError: .*part_1\.pkl is not what its process wrote, so it is not read", zero["found"])
    assert one["found"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"broadcast_bn_buffer": 1}, "DistEvalHook's broadcast_bn_buffer must be True or False, not 1"),
        ({"gpu_collect": None}, "DistEvalHook's gpu_collect must be True or False, not None"),
        ({"tmpdir": 3}, r"DistEvalHook's tmpdir must be a path \(str or pathlib.Path\) or None, not 3"),
        ({"interval": 0}, "DistEvalHook's interval must be a positive integer, not 0"),
    ],
)
def test_bad_arguments(batches, arguments, message):
    with pytest.raises(ConfigError, match=message):
        DistEvalHook(batches, metrics=Counts(), predict=len, **arguments)


def test_something_to_measure_is_needed(batches):
    with pytest.raises(ConfigError, match="DistEvalHook does not know what to measure"):
        DistEvalHook(batches)


class Counts:
    def compute(self):
        return {}


def test_positional_arguments_are_in_mmcvs_order(batches):
    own = (batches, 1, 2, False, "acc", "less", print, ["a"], ["b"], False, "here", True, "out", {"backend": "disk"})
    hook = DistEvalHook(*own, metrics=Counts(), predict=len)
    assert (hook.start, hook.interval, hook.by_epoch, hook.save_best, hook.rule) == (1, 2, False, "acc", "less")
    assert (hook.test_fn, hook.greater_keys, hook.less_keys) == (print, ["a"], ["b"])
    assert (hook.broadcast_bn_buffer, hook.tmpdir, hook.gpu_collect) == (False, "here", True)
    assert (hook.out_dir, hook.file_client_args) == ("out", {"backend": "disk"})


class Zero(Dataset):
    """Data whose score is always 0."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"x": torch.ones(3), "y": 0}

    def evaluate(self, results, logger=None):
        return {"acc": 0.0}


@pytest.mark.parametrize(("zero_counts", "best"), [(False, []), (True, ["best_acc_epoch_1.pth"])])
def test_a_score_of_zero(make_runner, batches, tmp_path, zero_counts, best):
    runner = make_runner(max_epochs=2)
    runner.register_hook(DistEvalHook(DataLoader(Zero()), save_best="acc", zero_counts=zero_counts))
    runner.run([batches], [("train", 1)])
    assert [file.name for file in (tmp_path / "work").glob("best_*")] == best
    assert runner.meta["hook_msgs"].get("best_score") == (0.0 if zero_counts else None)


def test_zero_counts_is_a_flag(batches):
    with pytest.raises(ConfigError, match="DistEvalHook's zero_counts must be True or False, not 1"):
        DistEvalHook(batches, metrics=Counts(), predict=len, zero_counts=1)
