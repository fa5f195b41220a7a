"""Services that stay on this machine."""

import logging
import os

import pytest


@pytest.fixture
def logger():
    """A logger of its own; ``caplog`` hears it."""
    one = logging.getLogger("services")
    one.setLevel(logging.DEBUG)
    return one


@pytest.fixture(autouse=True)
def _quiet_services(monkeypatch, tmp_path):
    """Nothing phones home, and all is written below the test's folder."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    settings = {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(tmp_path),
        "WANDB_CACHE_DIR": str(tmp_path),
        "WANDB_DATA_DIR": str(tmp_path),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
