optimizer = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4)
optimizer_config = dict(grad_clip=dict(max_norm=5.0, norm_type=2))
lr_config = dict(policy="step", step=[4, 5], gamma=0.1, warmup="linear", warmup_iters=20, warmup_ratio=0.1)
runner = dict(type="EpochBasedRunner", max_epochs=6)
