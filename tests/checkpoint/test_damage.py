"""A damaged file is an error, or brings the values that were written; never others."""

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import CheckpointError
from mmhooks.checkpoint import (
    load_checkpoint,
    optimizer_state,
    plain,
    read_checkpoint,
    save_checkpoint,
    verify_file,
    write_checkpoint,
)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A file with weights, momentum and meta, its bytes, and what is in it."""
    file = tmp_path_factory.mktemp("real") / "epoch_3.pth"
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(4, 3, 8, 10)).sum().backward()
    optimizer.step()
    save_checkpoint(net, str(file), optimizer, {"epoch": 3, "iter": 12, "hook_msgs": {"best_score": 0.75}})
    return file, file.read_bytes(), read_checkpoint(file)


def same(one, other):
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


def read_all(file, damaged, content):
    """Read each damaged file; give how many were refused, and the numbers of those that gave other values."""
    refused, wrong = 0, []
    for index, data in enumerate(damaged):
        file.write_bytes(data)
        try:
            found = read_checkpoint(file)
        except CheckpointError:
            refused += 1
        else:
            wrong += [] if same(found, content) else [index]
    return refused, wrong


def test_200_files_that_are_cut_off(tmp_path, real):
    _, whole, content = real
    places = np.random.default_rng(1).choice(len(whole), 200, replace=False)
    assert read_all(tmp_path / "a.pth", (whole[:place] for place in places), content) == (200, [])


def flipped(whole, count, seed=2):
    for place in np.random.default_rng(seed).choice(len(whole) * 8, count, replace=False):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << (place % 8)
        yield bytes(broken)


def test_500_files_with_a_flipped_bit(tmp_path, real):
    _, whole, content = real
    refused, wrong = read_all(tmp_path / "a.pth", flipped(whole, 500), content)
    assert not wrong
    assert refused > 350  # the rest are bits of padding, of dates and the like


def test_flipped_bits_are_seen_where_torch_sees_none(tmp_path, real):
    """What this is about: torch itself reads most of them, and gives other values."""
    _, whole, content = real
    file, wrong = tmp_path / "a.pth", 0
    for data in flipped(whole, 60):
        file.write_bytes(data)
        try:
            found = torch.load(file, weights_only=True)
        except Exception:
            continue
        wrong += not same(found, content)
    assert wrong > 20


def test_verify_file_sees_the_same(tmp_path, real):
    file, whole, _ = real
    verify_file(file)
    broken = bytearray(whole)
    broken[whole.index(real[2]["state_dict"]["0.weight"].numpy().tobytes())] ^= 1
    (tmp_path / "a.pth").write_bytes(broken)
    with pytest.raises(CheckpointError, match=r"a\.pth is damaged: its part"):
        verify_file(tmp_path / "a.pth")


def test_a_legacy_file_is_read_with_one_warning(tmp_path, real, caplog):
    _, _, content = real
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "a.pth"), content)
    (record,) = caplog.records
    assert "a.pth cannot be verified: files of this older format hold no checksums" in record.getMessage()


def test_a_file_with_checksums_is_read_without_a_word(real, caplog):
    read_checkpoint(real[0])
    assert not caplog.records


# safetensors --------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    pytest.importorskip("safetensors")
    save_checkpoint(model(), str(tmp_path / "w.safetensors"))
    return tmp_path / "w.safetensors"


def test_weights_in_safetensors(weights, caplog):
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))
    load_checkpoint(other, weights, strict=True)
    assert same(dict(other.state_dict()), dict(model().state_dict()))
    assert not caplog.records
    assert [path.name for path in weights.parent.iterdir()] == ["w.safetensors"]


def test_safetensors_itself_reads_them(weights):
    from safetensors.torch import load_file

    assert same(dict(sorted(load_file(weights).items())), dict(sorted(model().state_dict().items())))


def test_what_safetensors_wrote_is_read(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(dict(model().state_dict()), tmp_path / "theirs")  # known by its content
    found = read_checkpoint(tmp_path / "theirs")["state_dict"]
    assert same(dict(sorted(found.items())), dict(sorted(model().state_dict().items())))


def test_damaged_safetensors(weights):
    whole, content = weights.read_bytes(), read_checkpoint(weights)
    places = np.random.default_rng(1).choice(len(whole), 100, replace=False)
    assert read_all(weights, (whole[:place] for place in places), content) == (100, [])
    refused, wrong = read_all(weights, flipped(whole, 300), content)
    assert not wrong
    assert refused > 200


def test_tied_and_odd_weights(tmp_path):
    pytest.importorskip("safetensors")
    from mmhooks.checkpoint import write_weights

    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "a": base,
        "b": base,
        "c": base.t(),
        "d": base[1:],
        "e": torch.tensor(3),
        "f": torch.zeros(0, 2).bfloat16(),
    }
    write_weights(state, tmp_path / "w.safetensors")
    found = read_checkpoint(tmp_path / "w.safetensors")["state_dict"]
    assert all(same(found[name], tensor.contiguous()) for name, tensor in state.items())
    with pytest.raises(CheckpointError, match=r"holds dense tensors alone, and 'x' is a int: save it as a \.pth file"):
        write_weights({"x": 3}, tmp_path / "v.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match=r"w\.safetensors.*pip install 'mmhooks\[safetensors\]'"):
        save_checkpoint(model(), str(tmp_path / "w.safetensors"))
    assert not list(tmp_path.iterdir())


def test_no_optimizer_in_safetensors(tmp_path):
    net = model()
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    for more in ({"optimizer": sgd}, {"meta": {"epoch": 1}}):
        with pytest.raises(ValueError, match="holds weights alone: leave optimizer and meta out"):
            save_checkpoint(net, str(tmp_path / "w.safetensors"), **more)


# what is on the list ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *(np.dtype(kind).type(1) for kind in ("f8", "f4", "f2", "i8", "i4", "u1", "b1")),
        np.array([1.5, -2.0]),
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">f4"),
        np.zeros((0, 2), np.uint8),
        np.array([True, False]),
        np.array(3.0),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_numbers_of_numpy(tmp_path, value, new):
    torch.save({"meta": {"best": value}, "state_dict": {}}, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    found = read_checkpoint(tmp_path / "a.pth")["meta"]["best"]
    assert np.array_equal(found, value)
    assert found.dtype == value.dtype.newbyteorder("=")
    assert plain(found) == plain(value)


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([None]), np.zeros(2, [("a", "f4")]), np.datetime64(1, "s")]
)
def test_other_values_of_numpy(tmp_path, value):
    torch.save({"meta": {"best": value}, "state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth is no checkpoint, or a broken one: ValueError: NumPy values"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_state_of_an_optimizer_comes_back(real):
    state = real[2]["optimizer"]
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.5)
    optimizer.load_state_dict(state)
    assert same(optimizer_state(optimizer), state)


def test_a_user_may_allow_a_class(tmp_path):
    write_checkpoint({"meta": {"shape": Shape(3)}, "state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"unpickling runs code: .*\.Shape\. If you trust it.*add_safe_globals"):
        read_checkpoint(tmp_path / "a.pth")
    with torch.serialization.safe_globals([Shape]):
        assert read_checkpoint(tmp_path / "a.pth")["meta"]["shape"].sides == 3


class Shape:
    def __init__(self, sides):
        self.sides = sides
