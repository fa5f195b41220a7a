"""Strategies for optimizers, their param groups, and the hooks that step them."""

from __future__ import annotations

from hypothesis import strategies as st

from draw.parts import booleans, chance, merged, of_type, options, unit

lrs = st.floats(0.001, 0.3)
decays = st.floats(0.0, 0.1)
betas = st.tuples(st.floats(0.5, 0.95), st.floats(0.9, 0.999)).map(list)

optimizer_types = st.one_of(
    of_type("SGD", {"lr": lrs, "momentum": unit}, weight_decay=decays, nesterov=booleans),
    of_type("SGD", {"lr": lrs}, momentum=unit, weight_decay=decays),
    of_type("Adam", {"lr": lrs}, betas=betas, weight_decay=decays, amsgrad=booleans),
    of_type("AdamW", {"lr": lrs}, betas=betas, weight_decay=decays),
    of_type("RMSprop", {"lr": lrs}, momentum=unit, alpha=unit, weight_decay=decays),
    of_type("Adagrad", {"lr": lrs}, weight_decay=decays),
    of_type("NAdam", {"lr": lrs}, betas=betas),
)

paramwise = options(
    bias_lr_mult=st.floats(0, 3),
    bias_decay_mult=st.floats(0, 2),
    norm_decay_mult=st.floats(0, 2),
    dwconv_decay_mult=st.floats(0, 2),
    dcn_offset_lr_mult=st.floats(0, 2),
    bypass_duplicate=booleans,
    custom_keys=st.dictionaries(
        st.sampled_from(("first", "last", "last.bias", "norm", "norms.0", "bias", "depthwise", "frozen", "sid", "s")),
        options(lr_mult=st.floats(0, 2), decay_mult=st.floats(0, 2)),
        max_size=3,
    ),
)

# the decay multipliers of a paramwise_cfg are refused without a weight_decay: mostly there is one
built = merged(
    chance(12).flatmap(lambda without: st.just({}) if without else options({"weight_decay": decays})),
    optimizer_types,
    options(paramwise_cfg=paramwise, constructor=st.just("DefaultOptimizerConstructor")),
)

#: one for all parameters (or with a second group of another lr), one by name of the part, or by build_optimizer.
optimizers = {
    "plain": options({"kind": st.just("plain"), "config": optimizer_types, "groups": st.one_of(st.none(), unit)}),
    "several": options({"kind": st.just("several"), "first": optimizer_types, "last": optimizer_types}),
    "built": options({"kind": st.just("built"), "config": built}),
}

grad_clips = options({"max_norm": st.floats(0.01, 2.0)}, norm_type=st.sampled_from((1, 2, 2.0, 3, "inf")))

optimizer_hooks = st.one_of(
    options(grad_clip=st.one_of(st.none(), grad_clips)),
    of_type("OptimizerHook", grad_clip=grad_clips, detect_anomalous_params=booleans),
    of_type("GradientCumulativeOptimizerHook", {"cumulative_iters": st.integers(1, 5)}, grad_clip=grad_clips),
)
