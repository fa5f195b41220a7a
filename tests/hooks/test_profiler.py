import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhooks import ClosureHook, ConfigError, IterBasedRunner, ProfilerHook

TRAIN = [("train", 1)]
CPU = {"activities": ["cpu"]}


def steps(profiler):
    return sum(event.name.startswith("ProfilerStep") for event in profiler.events())


def count(profiler, name):
    return sum(event.count for event in profiler.key_averages() if event.key == name)


def run(runner, batches, **arguments):
    hook = ProfilerHook(**{**CPU, **arguments})
    runner.register_profiler_hook(hook)
    runner.run([batches], TRAIN)
    return hook


def test_it_profiles_the_first_epochs(make_runner, batches):
    for epochs in (1, 2):
        hook = run(make_runner(max_epochs=3), batches, profile_iters=epochs)
        assert count(hook.profiler, "aten::tanh") == 4 * epochs


@pytest.mark.parametrize("kind", ["epochs", "iterations"])
def test_it_profiles_the_first_iterations(make_runner, batches, kind):
    runner = make_runner(max_epochs=2) if kind == "epochs" else make_runner(IterBasedRunner, max_iters=8)
    hook = run(runner, batches, by_epoch=False, profile_iters=3)
    assert count(hook.profiler, "aten::tanh") == 3


def test_a_dict_is_a_profiler_hook(make_runner, batches):
    runner = make_runner(max_epochs=1)
    runner.register_profiler_hook({"activities": ["CPU"], "by_epoch": False})
    runner.run([batches], TRAIN)
    (hook,) = runner.hooks
    assert type(hook) is ProfilerHook
    assert count(hook.profiler, "aten::tanh") == 1


def test_a_schedule_chooses_iterations(make_runner, batches):
    traces = []
    schedule = {"wait": 1, "warmup": 1, "active": 2, "repeat": 1}
    run(make_runner(max_epochs=2), batches, profile_iters=2, schedule=schedule, on_trace_ready=lambda p: traces.append(
        (count(p, "aten::tanh"), steps(p))))  # fmt: skip
    assert traces == [(2, 2)]


def test_the_table_goes_into_the_log(make_runner, batches, caplog):
    table = {"type": "log_trace", "sort_by": "cpu_time_total", "row_limit": 2}
    run(make_runner(max_epochs=1), batches, on_trace_ready=table)
    (text,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("profile:")]
    assert "CPU total" in text
    assert table == {"type": "log_trace", "sort_by": "cpu_time_total", "row_limit": 2}
    assert len(re.findall(r"^ *aten::", text, re.MULTILINE)) == 2


@pytest.mark.parametrize("dir_name", [None, "below", "absolute"])
def test_files_for_tensorboard(make_runner, batches, tmp_path, dir_name):
    folders = {None: tmp_path / "work" / "tf_tracing_logs", "below": tmp_path / "work" / "below"}
    folder = folders.get(dir_name, tmp_path / "elsewhere")
    config = {"type": "tb_trace", "worker_name": "me"}
    if dir_name is not None:
        config["dir_name"] = str(folder) if dir_name == "absolute" else dir_name
    run(make_runner(max_epochs=1), batches, on_trace_ready=config)
    (file,) = folder.iterdir()
    assert file.name.startswith("me.")
    assert "aten::tanh" in file.read_text()


def test_a_json_file_and_what_is_recorded(make_runner, batches, tmp_path):
    path = tmp_path / "new" / "trace.json"
    flags = {"record_shapes": True, "profile_memory": True, "with_stack": True, "with_flops": True}
    hook = run(make_runner(max_epochs=1), batches, json_trace_path=str(path), **flags)
    trace = json.loads(path.read_text())["traceEvents"]
    assert {"aten::tanh", "[memory]"} <= {event.get("name") for event in trace}
    assert any(event.get("cat") == "python_function" for event in trace)
    shapes = [event.input_shapes for event in hook.profiler.events() if event.name == "aten::tanh"]
    assert shapes == [[[5, 4]], [[5, 4]], [[5, 4]], [[2, 4]]]
    assert any(event.flops for event in hook.profiler.key_averages())
    plain = run(make_runner(max_epochs=1), batches, json_trace_path=str(path))
    assert not any(event.flops or event.input_shapes for event in plain.profiler.events())
    trace = json.loads(path.read_text())["traceEvents"]
    assert not any(event.get("cat") == "python_function" or event.get("name") == "[memory]" for event in trace)


def test_a_path_is_taken_too(make_runner, batches, tmp_path):
    run(make_runner(max_epochs=1), batches, json_trace_path=tmp_path / "new" / "trace.json")
    assert json.loads((tmp_path / "new" / "trace.json").read_text())["traceEvents"]
    run(make_runner(max_epochs=1), batches, on_trace_ready={"type": "tb_trace", "dir_name": tmp_path / "traces"})
    assert len(list((tmp_path / "traces").iterdir())) == 1


def test_a_folder_is_no_file_for_a_trace(tmp_path):
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ConfigError, match=r"json_trace_path must be the name of a file .*, which is a folder"):
            ProfilerHook(json_trace_path=folder)


def test_a_run_that_is_stopped_early(make_runner, batches, tmp_path):
    path = tmp_path / "trace.json"
    runner = make_runner(IterBasedRunner, max_iters=20)
    runner.register_hook(ClosureHook("after_train_iter", lambda r: r.iter == 2 and r.stop("enough")))
    hook = run(runner, batches, by_epoch=False, profile_iters=10, json_trace_path=str(path))
    assert count(hook.profiler, "aten::tanh") == 3
    assert path.exists()
    assert not torch.autograd._profiler_enabled()


def test_a_schedule_that_never_began(make_runner, batches, tmp_path, caplog):
    schedule = {"wait": 50, "warmup": 1, "active": 1}
    run(make_runner(max_epochs=1), batches, schedule=schedule, json_trace_path=str(tmp_path / "trace.json"))
    assert "the schedule recorded no iteration" in caplog.text
    assert not (tmp_path / "trace.json").exists()


def test_a_run_that_fails_does_not_disturb_the_next(make_runner, batches):
    def fail(runner):
        raise RuntimeError("on purpose")

    traces = []
    failing = make_runner(max_epochs=1)
    failing.register_hook(ClosureHook("before_train_iter", fail))
    with pytest.raises(RuntimeError, match="on purpose"):
        run(failing, batches, on_trace_ready=traces.append)
    hook = run(make_runner(max_epochs=1), batches)
    assert count(hook.profiler, "aten::tanh") == 4
    assert traces == []
    assert not torch.autograd._profiler_enabled()


def test_a_resumed_run_is_profiled_from_where_it_goes_on(make_runner, batches):
    runner = make_runner(max_epochs=4)
    runner._epoch, runner._iter = 2, 8
    hook = run(runner, batches)
    assert count(hook.profiler, "aten::tanh") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile_iters": 3}, "profile_iters is 3, but the run has 2 epochs"),
        ({"by_epoch": False, "profile_iters": 9}, "profile_iters is 9, but the run has 8 iterations"),
    ],
)
def test_more_than_the_run_has(make_runner, batches, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(make_runner(max_epochs=2), batches, **arguments)


def test_epochs_in_a_run_without_them(make_runner, batches):
    with pytest.raises(ConfigError, match="this run has no epochs: add by_epoch=False"):
        run(make_runner(IterBasedRunner, max_iters=2), batches)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none(make_runner, batches, recwarn):
    with pytest.raises(ConfigError, match="but there is no CUDA device: add 'cpu'"):
        run(make_runner(max_epochs=1), batches, activities=["cuda"])
    hook = run(make_runner(max_epochs=1), batches, activities=["cpu", "cuda"])
    assert count(hook.profiler, "aten::tanh") == 4
    assert not [warning for warning in recwarn if "CUDA" in str(warning.message)]


def test_nowhere_to_write(make_runner, batches):
    with pytest.raises(ConfigError, match="nowhere to write tf_tracing_logs: give the runner a work_dir, or"):
        run(make_runner(max_epochs=1, work_dir=None), batches, on_trace_ready={"type": "tb_trace"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by_epoch": 1}, "by_epoch must be True or False, not 1"),
        ({"record_shapes": None}, "record_shapes must be True or False, not None"),
        ({"profile_memory": "x"}, "profile_memory must be True or False, not 'x'"),
        ({"with_stack": 0}, "with_stack must be True or False, not 0"),
        ({"with_flops": 0}, "with_flops must be True or False, not 0"),
        ({"profile_iters": 0}, "profile_iters must be a positive integer, not 0"),
        ({"profile_iters": 1.5}, r"profile_iters must be a positive integer, not 1\.5"),
        ({"activities": "cpu"}, "activities must be a list of 'cpu' and 'cuda', not 'cpu'"),
        ({"activities": []}, r"activities must be a list of 'cpu' and 'cuda', not \[\]"),
        ({"activities": ["cdua"]}, "activities must be of 'cpu' and 'cuda', not 'cdua'; did you mean 'cuda'"),
        ({"activities": [1]}, "activities must be of 'cpu' and 'cuda', not 1"),
        ({"schedule": 3}, r"schedule must be a dict\(wait=, warmup=, active=\) or None, not 3"),
        ({"schedule": {"wait": 1, "warmup": 1, "actve": 1}}, "schedule takes .*, not 'actve'; did you mean 'active'"),
        ({"schedule": {"wait": 1}}, "schedule needs active, warmup too"),
        (
            {"schedule": {"wait": -1, "warmup": 0, "active": 1}},
            r"schedule\['wait'\] must be 0 or a positive integer, not -1",
        ),
        ({"on_trace_ready": "log_trace"}, r"must be a function, dict\(type='log_trace'\) or .* not 'log_trace'"),
        ({"on_trace_ready": {"type": "tb_trac"}}, "not of type 'tb_trac'; did you mean 'tb_trace'"),
        ({"on_trace_ready": {}}, "on_trace_ready must be .*, not of type None"),
        ({"on_trace_ready": {"type": "log_trace", "sort": 1}}, "'log_trace' takes sort_by, .*, not 'sort'"),
        ({"on_trace_ready": {"type": "tb_trace", "folder": 1}}, "'tb_trace' takes dir_name, .*, not 'folder'"),
        ({"on_trace_ready": {"type": "tb_trace"}, "json_trace_path": "x"}, "cannot write a trace twice"),
        ({"on_trace_ready": {"type": ["log_trace"]}}, r"on_trace_ready must be .*, not of type \['log_trace'\]"),
        ({"on_trace_ready": {"type": "tb_trace", "dir_name": 5}}, "dir_name of 'tb_trace' must be a path .*, not 5"),
        ({"json_trace_path": 3}, r"json_trace_path must be a path \(str or pathlib.Path\) or None, not 3"),
        ({"json_trace_path": ""}, "json_trace_path must be the name of a file or None, not ''$"),
        ({"json_trace_path": "new/"}, "json_trace_path must be the name of a file .*, not 'new/', which is a folder"),
        ({"json_trace_path": Path()}, r"json_trace_path must be the name of a file .*, not '\.', which is a folder"),
        ({"json_trace_path": "new/.."}, "which is a folder"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ProfilerHook(**arguments)


@pytest.mark.parametrize("name", ["wait", "warmup", "active", "repeat", "skip_first", "skip_first_wait"])
@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, "1", None, -1])
def test_a_schedule_counts(name, value):
    allowed = "a positive integer" if name == "active" else "0 or a positive integer"
    with pytest.raises(ConfigError, match=rf"ProfilerHook's schedule\['{name}'\] must be {allowed}, not "):
        ProfilerHook(schedule={"wait": 1, "warmup": 1, "active": 1, name: value})


def test_counts_of_a_schedule_that_are_no_plain_integers(make_runner, batches):
    traces = []
    schedule = {"wait": np.int64(1), "warmup": 1.0, "active": np.uint8(2), "repeat": 1, "skip_first_wait": True}
    run(make_runner(max_epochs=2), batches, profile_iters=2, schedule=schedule, on_trace_ready=lambda p: traces.append(
        count(p, "aten::tanh")))  # fmt: skip
    assert traces == [2]


@pytest.mark.parametrize("sort_by", [
    None, "count", "cpu_time", "cpu_time_total", "self_cpu_time_total", "cuda_time", "cuda_time_total",
    "xpu_time_total", "self_cuda_time_total", "self_device_time_total", "cpu_memory_usage",
    "self_cuda_memory_usage", "flops", "key",
])  # fmt: skip
def test_what_a_table_is_sorted_by(make_runner, batches, caplog, sort_by):
    limits = {"row_limit": np.int64(3), "max_name_column_width": None, "max_src_column_width": 40, "header": "here"}
    run(make_runner(max_epochs=1), batches, on_trace_ready={"type": "log_trace", "sort_by": sort_by, **limits})
    assert "Self CPU" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sort_by": "nonsense"}, r"sort_by of 'log_trace' must be None or one of count, .*, not 'nonsense'$"),
        ({"sort_by": "cuda_time_totl"}, "not 'cuda_time_totl'; did you mean 'device_time_total'"),
        ({"sort_by": "cpu_time_str"}, "not 'cpu_time_str'; did you mean 'cpu_time'"),
        ({"sort_by": "cpu_parent"}, "not 'cpu_parent'"),
        ({"sort_by": ""}, "not ''"),
        ({"sort_by": ["count"]}, r"not \['count'\]"),
        ({"sort_by": 1}, "not 1"),
        ({"row_limit": "x"}, "row_limit of 'log_trace' must be 0 or a positive integer, or -1 for all rows, not 'x'"),
        ({"row_limit": 2.5}, r"row_limit .*, not 2\.5"),
        ({"row_limit": True}, "row_limit .*, not True"),
        ({"row_limit": None}, "row_limit .*, not None"),
        ({"max_name_column_width": "x"}, "max_name_column_width of 'log_trace' must be .* None for no limit, not 'x'"),
        ({"header": 3}, "header of 'log_trace' must be a str or None, not 3"),
    ],
)
def test_a_table_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ProfilerHook(on_trace_ready={"type": "log_trace", **arguments})
