"""MlflowLoggerHook with a database, and with a server over HTTP that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from mmhooks import ConfigError, Hook, HookError, MlflowLoggerHook, TextLoggerHook

sys.path.insert(0, str(Path(__file__).parent))

from small_run import META, Shows, check_values, is_red, same, train


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The address of an empty database; making one takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"
    mlflow.MlflowClient(uri).search_experiments()
    return uri


@pytest.fixture(scope="module", autouse=True)
def process(database, tmp_path_factory):
    """A server of the same database, in a group of processes of its own; it gets ready during the other tests."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--port", str(port), "--workers",
        "1", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with Path(folder, "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=env)
    server.address = f"http://127.0.0.1:{port}"
    yield server
    if server.poll() is None:
        stop(server, signal.SIGKILL)


def stop(server, how):
    os.killpg(server.pid, how)
    if how == signal.SIGKILL:
        server.wait()


@pytest.fixture
def server(process, client):
    """The server when it is ready."""
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{process.address}/health", timeout=1)
            break
        except OSError:
            assert process.poll() is None
            time.sleep(0.1)
    mlflow.set_tracking_uri(process.address)
    return process


@pytest.fixture
def client(database, tmp_path):
    """A client; the experiments of a test have their artifacts in its folder."""
    mlflow.set_tracking_uri(database)
    one = mlflow.MlflowClient(database)
    for name in ("native", "lightning"):
        if one.get_experiment_by_name(name) is None:
            one.create_experiment(name, artifact_location=(tmp_path / "artifacts").as_uri())
    yield one
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def latest(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1)[0]


def metrics(client, run):
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: sorted((one.step, one.value) for one in history) for name, history in found.items()}


def files(client, run, folder=None):
    for one in client.list_artifacts(run.info.run_id, folder):
        yield from files(client, run, one.path) if one.is_dir else [one.path]


def test_both_drivers_log_the_same(client, tmp_path):
    found = {}
    for driver in ("native", "lightning"):
        hook = MlflowLoggerHook(driver, {"team": "a"}, {"lr": 7}, log_model=driver == "native", interval=2)
        weights = train(driver, tmp_path / driver, Shows(), hook)
        run = latest(client, driver)
        assert run.info.status == "FINISHED"
        assert mlflow.active_run() is None
        assert run.data.params == {
            "lr": "7", "model.type": "Small", "model.depths": "[1, 2]", "log.0.interval": "2", "seed": "3",
            "exp_name": "small.py",
        }  # fmt: skip
        assert run.data.tags["team"] == "a"
        found[driver] = metrics(client, run)
        assert set(found[driver]) == {"train/loss", "val/loss", "learning_rate", "momentum"}
        names = list(files(client, run))
        folder = Path(client.download_artifacts(run.info.run_id, ""))
        (image,) = [name for name in names if "shown" in name and "image" in name and name.endswith(".png")]
        assert "step+4+" in image
        assert is_red(Image.open(folder / image))
        assert Image.open(folder / "shown/figure/4.png").size == (100, 100)
        assert (folder / "shown/text/4.txt").read_text() == "2 < 3"
        assert (folder / "small.py").read_text() == META["config"]
        # it takes no histograms, so they stay here
        assert sum(json.loads((tmp_path / driver / "media/shown/weight/4.json").read_text())["counts"]) == 12
        if hook.log_model:
            (model,) = client.search_logged_models([run.info.experiment_id])
            assert same(mlflow.pytorch.load_model(model.model_uri).state_dict(), weights)
    check_values(found["native"], found["lightning"])


def test_an_active_run_is_used_and_stays_open(client, tmp_path):
    mlflow.set_experiment("native")
    with mlflow.start_run() as mine:
        mlflow.log_param("seed", 5)  # another value would be refused
        hook = MlflowLoggerHook(log_model=False, interval=4, hyper_parameters={"seed": 4, "odd name (x)": "y" * 9000})
        train("native", tmp_path, hook, max_epochs=1)
        assert mlflow.active_run().info.run_id == mine.info.run_id
    run = client.get_run(mine.info.run_id)
    assert run.data.params == {"seed": "5", "odd name _x_": "y" * 6000}
    assert set(metrics(client, run)) == {"train/loss", "val/loss", "learning_rate", "momentum"}


class Odd(Hook):
    """Logs a value whose name MLflow does not allow, and then raises."""

    def after_train_iter(self, runner):
        runner.log_buffer.update({"AP@50 [%]": 0.5})
        if runner.iter == 2:
            raise ZeroDivisionError


def test_a_run_that_fails(client, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train("native", tmp_path, Odd(), MlflowLoggerHook("native", interval=2))
    run = latest(client, "native")
    assert run.info.status == "FAILED"
    assert metrics(client, run)["train/AP_50 ___"] == [(2, 0.5)]
    assert mlflow.active_run() is None


def test_misuse():
    with pytest.raises(ConfigError, match=r"MlflowLoggerHook's tags must be a dict or None, not \['a'\]"):
        MlflowLoggerHook(tags=["a"])
    with pytest.raises(ConfigError, match="exp_name must be a str or None, not 3"):
        MlflowLoggerHook(3)


# a server -------------------------------------------------------------------------------------------------


class Stops(Hook):
    """Stops a server after the third iteration: for good, or until the sixth, when requests have little time."""

    def __init__(self, server, how):
        self.server, self.how = server, how
        self.impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    def after_train_iter(self, runner):
        if runner.iter == 2:
            stop(self.server, self.how)
            os.environ.update(self.impatient)
        elif runner.iter == 5 and self.how == signal.SIGSTOP:
            stop(self.server, signal.SIGCONT)
            for name in self.impatient:
                del os.environ[name]


def lines(path):
    """Read the lines of a local log without what a clock says."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    clock = ("time", "data_time", "memory")
    return [{key: value for key, value in line.items() if key not in clock} for line in found if "mode" in line]


def warnings_of(caplog, logger):
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING" and one.name == logger.name]


def test_a_server_that_hangs_and_then_dies(server, client, tmp_path, logger, caplog):
    undisturbed = train("native", tmp_path / "undisturbed", TextLoggerHook(interval=2), logger=logger)
    (file,) = (tmp_path / "undisturbed").glob("*.log.json")
    whole = lines(file)

    hook = MlflowLoggerHook("served", interval=2)
    hook.retry_after = 0.0  # it is tried again at once
    folder = tmp_path / "hangs"
    assert same(train("native", folder, Stops(server, signal.SIGSTOP), hook, logger=logger), undisturbed)
    run = latest(client, "served")
    steps = [step for step, _ in metrics(client, run)["train/loss"]]
    assert [step for step in steps if step != 4] == [2, 6, 8]  # it may come upon the other one later
    assert run.info.status == "FINISHED"
    (kept,) = folder.glob("*.mlflow.log.json")
    first, last = warnings_of(caplog, logger)
    assert first.startswith("MLflow failed at iteration 4 (")
    assert f"the training goes on, and what it does not receive is kept in {kept}" in first
    assert last == f"MLflow has not received 2 of the logged lines: they are in {kept}"
    assert "MLflow works again, at iteration 6" in caplog.text
    assert lines(kept) == whole[1:3]

    caplog.clear()
    folder = tmp_path / "dies"
    hooks = Stops(server, signal.SIGKILL), Shows(), TextLoggerHook(interval=2), MlflowLoggerHook("served", interval=2)
    assert same(train("lightning", folder, *hooks, logger=logger), undisturbed)
    run = latest(client, "served")
    assert [step for step, _ in metrics(client, run)["train/loss"]] == [2]
    assert run.data.params["model.type"] == "Small"
    (file,) = folder.glob("*.log.json")  # the text logger has all of it
    assert lines(file) == whole
    first, last = warnings_of(caplog, logger)
    assert "Connection refused" in first
    assert last == f"MLflow has not received 5 of the logged lines: they are in {file}"
    assert {path.name for path in (folder / "media/shown").iterdir()} == {"image", "figure", "weight", "text"}


def test_a_server_that_is_not_there_is_an_error_at_the_beginning(tmp_path, logger):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        with pytest.raises(HookError, match=r"MlflowLoggerHook could not begin: .*Connection refused"):
            train("native", tmp_path, MlflowLoggerHook("e"), logger=logger)
    finally:
        mlflow.set_tracking_uri(None)
