dataset_type = "Digits"
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=0,
    train=dict(type=dataset_type, split="train"),
    val=dict(type=dataset_type, split="val"),
)
evaluation = dict(interval=1, metric="accuracy", save_best="accuracy")
