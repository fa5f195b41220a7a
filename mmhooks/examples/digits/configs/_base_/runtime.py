checkpoint_config = dict(interval=1, max_keep_ckpts=2)
log_config = dict(interval=10, hooks=[dict(type="TextLoggerHook")])
custom_hooks = [dict(type="EMAHook", momentum=0.05, priority="ABOVE_NORMAL")]
custom_imports = dict(
    imports=["mmhooks.examples.digits.model", "mmhooks.examples.digits.data"], allow_failed_imports=False
)
workflow = [("train", 1), ("val", 1)]
dist_params = dict(backend="nccl")
log_level = "INFO"
load_from = None
resume_from = None
seed = 0
