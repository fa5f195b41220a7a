"""Which loader reads a name."""

import re
import subprocess
import sys

import pytest
import torch

import mmhooks
import mmhooks.runner
from mmhooks import CheckpointError, CheckpointLoader, ConfigError, RegistryError
from mmhooks.checkpoint import load_checkpoint_with_prefix, read_checkpoint, write_checkpoint


@pytest.fixture(autouse=True)
def _schemes_as_before(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))


@pytest.fixture
def file(tmp_path):
    torch.save({"backbone.w": torch.ones(2), "head.w": torch.zeros(1), "backbones": 3}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def give(name):
    return lambda filename, map_location=None: {"state_dict": {}, "by": name, "from": filename, "to": map_location}


def test_the_names_are_where_mmcv_code_looks_for_them():
    for name in (
        "CheckpointLoader",
        "get_state_dict",
        "load_checkpoint",
        "load_checkpoint_with_prefix",
        "load_state_dict",
        "save_checkpoint",
        "weights_to_cpu",
    ):
        assert getattr(mmhooks, name) is getattr(mmhooks.runner, name) is getattr(mmhooks.checkpoint, name)


def test_a_path_a_file_url_and_a_store(file, caplog):
    caplog.set_level("INFO", "mmhooks")
    content = CheckpointLoader.load_checkpoint(str(file), "cpu", mmhooks.log.get_logger())
    assert f"load checkpoint from {file}" in caplog.text
    assert list(content) == ["backbone.w", "head.w", "backbones"]  # as it is, unlike read_checkpoint
    assert list(CheckpointLoader.load_checkpoint(f"file://{file}")) == list(content)
    write_checkpoint(content, "memory://loader/a.pth")
    assert list(CheckpointLoader.load_checkpoint("memory://loader/a.pth")) == list(content)
    assert list(read_checkpoint("memory://loader/a.pth")) == ["state_dict"]


def test_the_home_folder(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    monkeypatch.setenv("USERPROFILE", str(file.parent))
    assert CheckpointLoader.load_checkpoint("~/a.pth")["backbones"] == 3


def test_registering(file):
    CheckpointLoader.register_scheme("co://", give("plain"))
    CheckpointLoader.register_scheme(["co://deep/", "deep:"], give("deep"))

    @CheckpointLoader.register_scheme("http://", force=True)
    def fetch(filename, map_location=None):
        return give("http")(filename, map_location)

    assert fetch("x")["by"] == "http"  # a decorator gives the function back
    for name, by in (("co://x", "plain"), ("co://deep/x", "deep"), ("deep:x", "deep"), ("http://x", "http")):
        found = CheckpointLoader.load_checkpoint(name, "meta")
        assert (found["by"], found["from"], found["to"]) == (by, name, "meta")
    assert read_checkpoint("co://x", weights_only=False)["by"] == "plain"  # the loader decides itself how to read


def test_the_longest_beginning_wins_whenever_it_was_registered():
    CheckpointLoader.register_scheme("zoo:a/b/", give("long"))
    CheckpointLoader.register_scheme(r"zoo:\w/", give("short"))
    assert CheckpointLoader.load_checkpoint("zoo:a/b/c")["by"] == "long"
    assert CheckpointLoader.load_checkpoint("zoo:x/b/c")["by"] == "short"


def test_a_store_can_be_given_a_loader_of_ones_own():
    CheckpointLoader.register_scheme("s3://", give("mine"))
    assert CheckpointLoader.load_checkpoint("s3://bucket/a.pth")["by"] == "mine"


@pytest.mark.parametrize("taken", ["http://", "torchvision://", ["new://", "mmcls://"]])
def test_a_prefix_that_is_taken(taken):
    with pytest.raises(RegistryError, match=r"'\w+://' has a loader already; .*force=True"):
        CheckpointLoader.register_scheme(taken, give("x"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(((wrong,), "prefixes must be a str such as 'company://' or a list, not") for wrong in (3, None, [])),
        ((["new://", 3],), "prefixes must be regular expressions such as 'company://', not 3"),
        (("(",), r"prefixes must be regular expressions .*not '\('"),
        ((["new://", "a"],), "the prefix 'a' would take every file .*write 'a://'|prefix 'a' would take every file"),
        (("new://", 3), r"loader must be a function \(filename, map_location\) -> content, not 3"),
        (("new://", give("x"), "yes"), "register_scheme's force must be True or False, not 'yes'"),
    ],
)
def test_schemes_that_cannot_be(arguments, message):
    before = dict(CheckpointLoader._schemes)
    with pytest.raises(ConfigError, match=message):
        CheckpointLoader.register_scheme(*arguments)
    assert CheckpointLoader._schemes == before


def test_a_list_is_registered_whole_or_not_at_all():
    with pytest.raises(RegistryError, match="'' has a loader already"):
        CheckpointLoader.register_scheme(["whole://", ""], give("x"))
    with pytest.raises(ConfigError, match=r"'whole' is not known .*register_scheme\('whole://', loader\)"):
        CheckpointLoader.load_checkpoint("whole://a")


def test_a_runner_loads_through_it_too(make_runner):
    runner = make_runner()
    state = {key: torch.zeros_like(value) for key, value in runner.model.state_dict().items()}
    CheckpointLoader.register_scheme("co://", lambda filename, map_location: {"state_dict": state})
    runner.load_checkpoint("co://weights", strict=True)
    assert torch.equal(runner.model.last.bias, torch.zeros(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision://resnet50", r"get_model\('resnet50', weights='IMAGENET1K_V1'\).*'checkpoints/resnet50\.pth'"),
        ("modelzoo://ResNet50_Weights.IMAGENET1K_V2", r"get_model\('resnet50', weights='IMAGENET1K_V2'\)"),
        ("open-mmlab://detectron2/resnet50_caffe", r"open_mmlab\.json.*'checkpoints/resnet50_caffe\.pth'"),
        ("openmmlab://vgg16_caffe", r"place of 'openmmlab://vgg16_caffe'.*register_scheme\('openmmlab://'"),
        ("mmcls://mobilenet_v2", r"model zoo of mmcls.*load_checkpoint_with_prefix\('backbone'"),
        ("http://host/dir/a.pth", r"Download it once with a browser or curl.*'checkpoints/a\.pth'"),
        ("https://host/a.pth", r"nothing is downloaded.*register_scheme\('https://', loader, force=True\)"),
        ("pavi://model/x", "no client any more"),
        ("simplecache::https://host/a.pth", "nothing is downloaded"),
    ],
)
def test_what_would_be_downloaded_says_how_to_get_it(name, message):
    with pytest.raises(CheckpointError, match=message):
        CheckpointLoader.load_checkpoint(name)


def test_stores_that_cannot_be_reached():
    with pytest.raises(ConfigError, match=r"memry://a\.pth.*not known.*did you mean 'memory'"):
        CheckpointLoader.load_checkpoint("memry://a.pth")
    with pytest.raises(ConfigError, match=r"write 's3://b/a\.pth' and say where 'cluster' is.*endpoint_url"):
        CheckpointLoader.load_checkpoint("cluster:s3://b/a.pth")
    with pytest.raises(CheckpointError, match=re.escape("there is no checkpoint memory://nowhere/a.pth")):
        CheckpointLoader.load_checkpoint("memory://nowhere/a.pth")


def test_a_missing_package_is_named():
    code = (
        "import sys; sys.modules['s3fs'] = None; import mmhooks; mmhooks.CheckpointLoader.load_checkpoint('s3://b/a')"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigError: s3://b/a: the package that speaks 's3' is not installed: pip install s3fs" in shown.stderr


def test_one_part(file):
    part = load_checkpoint_with_prefix("backbone", str(file), "cpu")
    assert list(part) == ["w"]
    assert torch.equal(part["w"], torch.ones(2))
    with pytest.raises(CheckpointError, match=r"a\.pth holds nothing under 'neck\.'; it has backbone, backbones, head"):
        load_checkpoint_with_prefix("neck.", file)
    with pytest.raises(ConfigError, match="prefix must be the name of a part such as 'backbone', not 3"):
        load_checkpoint_with_prefix(3, file)
