import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mmhooks import HookError, ModelError, collect_results_cpu, collect_results_gpu, multi_gpu_test, single_gpu_test
from mmhooks.evaluation import broadcast_bn_stats, measure


class Numbers(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return {"x": torch.tensor([float(index)]), "name": f"image {index}"}


class Twice(nn.Module):
    """Gives what ``kind`` makes of the doubled numbers; notes its arguments."""

    def __init__(self, kind=list):
        super().__init__()
        self.kind, self.calls = kind, []
        self.norm = nn.BatchNorm1d(1)

    def forward(self, return_loss=True, **data):
        self.calls.append((return_loss, sorted(data), self.training, torch.is_grad_enabled()))
        return self.kind(2 * data["x"][:, 0])


class Wrapper(nn.DataParallel):
    def forward(self, *args, **kwargs):
        raise AssertionError("the wrapper was called")


LOADER = DataLoader(Numbers(), batch_size=2)


@pytest.mark.parametrize("test", [single_gpu_test, multi_gpu_test])
def test_results_of_one_process(test):
    model = Twice()
    assert test(model, LOADER) == [0, 2, 4, 6, 8]
    assert model.calls == [(False, ["name", "x"], False, False)] * 3
    assert not model.training


def test_a_tensor_or_an_array_is_a_list_of_results():
    assert single_gpu_test(Twice(lambda result: result), LOADER) == [0, 2, 4, 6, 8]
    assert single_gpu_test(Twice(torch.Tensor.numpy), LOADER) == [0, 2, 4, 6, 8]


def test_a_wrapper_is_looked_through():
    model = Twice()
    assert single_gpu_test(Wrapper(model), LOADER) == [0, 2, 4, 6, 8]
    assert not model.training


@pytest.mark.parametrize("kind", [lambda result: {"scores": result}, lambda result: 5, str])
def test_results_that_are_no_list(kind):
    with pytest.raises(ModelError, match=r"Twice\(return_loss=False, ...\) must return a list, one result a sample"):
        single_gpu_test(Twice(kind), LOADER)


def test_batches_that_are_no_dicts():
    with pytest.raises(HookError, match=r"the loader yields a tuple: let it yield dicts, or give EvalHook a test_fn"):
        single_gpu_test(Twice(), [(torch.ones(2), torch.ones(2))])


@pytest.mark.parametrize("collect", [collect_results_cpu, collect_results_gpu])
def test_one_process_has_all_results(collect):
    assert collect([1, 2, 3, 4], 3) == [1, 2, 3]


def test_one_process_writes_no_files(tmp_path):
    assert collect_results_cpu([1, 2], 2, str(tmp_path / "results")) == [1, 2]
    assert multi_gpu_test(Twice(), LOADER, tmpdir=tmp_path / "results", gpu_collect=False) == [0, 2, 4, 6, 8]
    assert list(tmp_path.iterdir()) == []


def test_predict_gets_the_model_without_its_wrapper():
    model, seen = Twice(), []

    def predict(model, batch):
        seen.append(model)
        return torch.tensor([0, 1]), torch.tensor([0, 0])

    metrics = MetricCollection({"acc": MulticlassAccuracy(2, average="micro")})
    assert measure(Wrapper(model), LOADER, metrics, predict) == {"acc": 0.5}
    assert seen == [model] * 3
    assert not model.training


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (MulticlassAccuracy(2, average="micro"), "metrics must be a torchmetrics MetricCollection"),
        (MetricCollection({"acc": MulticlassAccuracy(2, average=None)}), "'acc' gives 2 values, not one"),
    ],
)
def test_metrics_without_names_or_with_several_values(metrics, message):
    with pytest.raises(HookError, match=message):
        measure(Twice(), LOADER, metrics, lambda model, batch: (torch.tensor([0]), torch.tensor([1])))


@pytest.mark.parametrize("found", [5, torch.zeros(2, 1), (1,), [1, 2, 3], {"preds": 1, "target": 2}])
def test_predictions_that_are_no_pair(found):
    metrics = MetricCollection({"acc": MulticlassAccuracy(2, average="micro")})
    with pytest.raises(HookError, match=r"predict must return the pair \(preds, target\), .*, not (an? \w|\d values)"):
        measure(Twice(), LOADER, metrics, lambda model, batch: found)


class Counts:
    """Counts batches; no metric of torchmetrics, and all that is asked of one."""

    def __init__(self, value=float):
        self.value = value

    def to(self, device):
        self.device = device

    def reset(self):
        self.count = 0

    def update(self, preds, target):
        self.count += 1
        self.seen = preds, target

    def compute(self):
        return {"count": self.value(self.count)}


def test_metrics_of_ones_own():
    metrics = Counts()
    assert measure(Twice(), LOADER, metrics, lambda model, batch: [1, 2]) == {"count": 3.0}
    assert metrics.seen == (1, 2)
    for wrong in (str, lambda count: None, lambda count: [count]):
        with pytest.raises(HookError, match=r"the metric 'count' gives .*, which is no number"):
            measure(Twice(), LOADER, Counts(wrong), lambda model, batch: (1, 2))


@pytest.mark.parametrize("absent", ["to", "reset", "update", "compute"])
def test_metrics_without_a_method(absent):
    metrics = Counts()
    setattr(metrics, absent, None)
    with pytest.raises(HookError, match=f"a torchmetrics MetricCollection, .*; Counts has no method '{absent}'"):
        measure(Twice(), LOADER, metrics, lambda model, batch: (1, 2))


@pytest.mark.parametrize("wrong", [None, {"type": "Twice"}, Twice])
def test_what_is_no_model(wrong):
    for test in (single_gpu_test, multi_gpu_test):
        with pytest.raises(ModelError, match=r"single_gpu_test's model must be a torch\.nn\.Module, not "):
            test(wrong, LOADER)
    with pytest.raises(ModelError, match=r"measure's model must be a torch\.nn\.Module, not "):
        measure(wrong, LOADER, Counts(), lambda model, batch: (1, 2))


def test_a_loader_without_a_dataset():
    model = Twice()
    with pytest.raises(HookError, match=r"multi_gpu_test takes a DataLoader, .*, not a list"):
        multi_gpu_test(model, list(LOADER))
    assert model.calls == []


def test_statistics_of_one_process_stay():
    model = Twice()
    broadcast_bn_stats(model)
    assert model.norm.running_mean.tolist() == [0]
