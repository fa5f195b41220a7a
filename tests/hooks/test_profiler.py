import json
import re

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
        ({"schedule": {"wait": -1, "warmup": 0, "active": 1}}, "schedule {'wait': -1, .* cannot be"),
        ({"on_trace_ready": "log_trace"}, r"must be a function, dict\(type='log_trace'\) or .* not 'log_trace'"),
        ({"on_trace_ready": {"type": "tb_trac"}}, "not of type 'tb_trac'; did you mean 'tb_trace'"),
        ({"on_trace_ready": {}}, "on_trace_ready must be .*, not of type None"),
        ({"on_trace_ready": {"type": "log_trace", "sort": 1}}, "'log_trace' takes sort_by, .*, not 'sort'"),
        ({"on_trace_ready": {"type": "tb_trace", "folder": 1}}, "'tb_trace' takes dir_name, .*, not 'folder'"),
        ({"on_trace_ready": {"type": "tb_trace"}, "json_trace_path": "x"}, "cannot write a trace twice"),
        ({"json_trace_path": 3}, "json_trace_path must be a file name or None, not 3"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ProfilerHook(**arguments)
