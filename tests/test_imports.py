import subprocess
import sys

HEAVY = (
    "lightning", "pytorch_lightning", "matplotlib", "sklearn", "torchmetrics", "typer", "rich", "pandas",
    "tensorboard", "mlflow", "wandb", "neptune", "dvclive", "clearml", "PIL", "mmcv", "torchvision",
    "mmhooks_lightning", "mmhooks.cli",
)  # fmt: skip


def test_import_mmhooks_imports_nothing_heavy():
    made = "[kind() for kind in (mmhooks.TensorboardLoggerHook, mmhooks.MlflowLoggerHook, mmhooks.WandbLoggerHook)]"
    code = f"import sys, mmhooks; {made}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []


def test_all_names_are_there():
    import mmhooks

    assert [name for name in mmhooks.__all__ if not hasattr(mmhooks, name)] == []
    assert len(set(mmhooks.__all__)) == len(mmhooks.__all__)
