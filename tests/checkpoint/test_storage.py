"""Files in stores that fsspec reaches: one in memory, and one that shows a file while it is being written."""

import re
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import CheckpointError, ConfigError
from mmhooks.checkpoint import (
    check_writable,
    exists,
    is_remote,
    join,
    open_to_read,
    place_for,
    read_checkpoint,
    remove,
    save_checkpoint,
    storage_options_of,
    upload,
    write_checkpoint,
)
from mmhooks.checkpoint.storage import local_path, located, split


class Shelf(MemoryFileSystem):
    """No object store: what is uploaded can be seen, half of it, before it is complete."""

    protocol = "shelf"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def __init__(self, owner=None, capacity=1_000_000, **kwargs):
        super().__init__(**kwargs)
        self.owner, self.capacity = owner, capacity

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("shelf://", "memory://"))

    def put_file(self, lpath, rpath, **kwargs):
        with open(lpath, "rb") as source:  # noqa: PTH123
            content = source.read()
        self.pipe_file(rpath, content[: self.capacity])
        if len(content) > self.capacity:
            raise ConnectionError("the line is cut")


@pytest.fixture(autouse=True)
def _shelf():
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    Shelf.store.clear()
    MemoryFileSystem.store.clear()


@pytest.fixture
def made(tmp_path):
    def make(content):
        (tmp_path / "made").write_bytes(content)
        return tmp_path / "made"

    return make


def content(path):
    with open_to_read(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("a/b", False),
        ("/a/b", False),
        ("C:\\a", False),
        ("C://a", False),
        ("file:///a", False),
        ("local:///a", False),
        ("s3://a/b", True),
        ("memory://a", True),
        ("simplecache::s3://a/b", True),
    ],
)
def test_is_remote(path, remote):
    assert is_remote(path) == remote


def test_paths(tmp_path):
    assert join("s3://a/b/", "c.pth") == join("s3://a/b", "c.pth") == "s3://a/b/c.pth"
    assert join(str(tmp_path), "c.pth") == str(tmp_path / "c.pth")
    assert split("s3://a/b/c.pth") == ("s3://a/b", "c.pth")
    assert split(str(tmp_path / "c.pth")) == (str(tmp_path), "c.pth")
    assert local_path(f"file://{tmp_path}/a") == tmp_path / "a"


@pytest.mark.parametrize("folder", ["memory://deep/er", "shelf://deep/er", "file://{tmp}", "{tmp}"])
def test_a_file_lives_and_dies(folder, tmp_path):
    folder = folder.format(tmp=tmp_path)
    path = join(folder, "a.pth")
    assert not exists(path)
    remove(path)  # a missing file is fine
    write_checkpoint({"state_dict": {"w": torch.ones(2)}}, path)
    write_checkpoint({"state_dict": {"w": torch.zeros(2)}}, path)
    assert exists(path)
    assert not exists(folder)
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.zeros(2))
    remove(path)
    assert not exists(path)
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*a\.pth"):
        read_checkpoint(path)


def test_nothing_but_the_file_is_left(made):
    upload(made(b"1"), "shelf://deep/a")
    upload(made(b"2"), "shelf://deep/a")
    upload(made(b"3"), "memory://deep/a")
    assert (list(Shelf.store), list(MemoryFileSystem.store)) == (["/deep/a"], ["/deep/a"])
    assert (content("shelf://deep/a"), content("memory://deep/a")) == (b"2", b"3")


def test_a_failing_upload_leaves_the_old_file(made):
    upload(made(b"old"), "shelf://deep/a")
    with pytest.raises(
        CheckpointError, match=r"shelf://deep/a could not be written \(ConnectionError: the line is cut\).*untouched"
    ):
        upload(made(b"new and longer"), "shelf://deep/a", {"capacity": 5})
    assert list(Shelf.store) == ["/deep/a"]
    assert content("shelf://deep/a") == b"old"


def test_a_store_that_keeps_less_than_was_sent(made):
    class Lossy(Shelf):
        def put_file(self, lpath, rpath, **kwargs):
            self.pipe_file(rpath, b"")

    fsspec.register_implementation("shelf", Lossy, clobber=True)
    with pytest.raises(CheckpointError, match="shelf://deep/a holds 0 bytes where 3 were sent"):
        upload(made(b"new"), "shelf://deep/a")


def test_a_store_that_cannot_write(made):
    with pytest.raises(CheckpointError, match=r"data://x could not be written \("):
        upload(made(b"new"), "data://x")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (None, {}),
        ({"backend": "disk"}, {}),
        ({"backend": "local"}, {}),
        ({"backend": "petrel", "enable_mc": True, "path_mapping": {"a": "s3://b"}}, {}),
        ({"backend": "petrel", "endpoint_url": "https://x"}, {"endpoint_url": "https://x"}),
        ({"backend": "memory", "skip_instance_cache": True}, {"skip_instance_cache": True}),
        ({"prefix": "s3", "key": "k"}, {"key": "k"}),
        ({"path_mapping": {"a": "s3://b"}}, {}),
    ],
)
def test_file_client_args(arguments, options):
    assert storage_options_of(arguments) == options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"backend": "memcached", "server_list_cfg": "x"},
            r"backend='memcached' can be read but not written; .*'disk'",
        ),
        ({"backend": "lmdb"}, "backend='lmdb' can be read but not written"),
        ({"backend": "http"}, "backend='http' can be read but not written"),
        ({"backend": "petrl"}, r"backend='petrl'; allowed are 'disk', 'petrel' .*did you mean 'petrel'"),
        ({"backend": "petrel", "conf_path": "~/petrel.conf"}, r"conf_path='~/petrel\.conf'.*endpoint_url"),
        ({"key": "k"}, r"names no backend; begin with backend='disk'"),
        ("disk", r"file_client_args='disk' must be a dict"),
        ({3: "disk"}, r"file_client_args=\{3: 'disk'\} must be a dict such as dict\(backend='disk'\)"),
        ({"backend": ["disk"]}, r"the backend must be a name such as 'disk' or 's3', not \['disk'\]"),
        ({"prefix": 5}, "the backend must be a name such as 'disk' or 's3', not 5"),
        ({"backend": "s3", "path_mapping": {"a": 5}}, r"path_mapping=\{'a': 5\} must be a dict of old and new"),
        ({"path_mapping": {5: "a"}}, r"path_mapping=\{5: 'a'\} must be a dict .* such as \{'work_dirs': 's3://"),
    ],
)
def test_file_client_args_without_an_equal(arguments, message):
    with pytest.raises(ConfigError, match=message):
        storage_options_of(arguments)
    if "conf_path" not in arguments:  # that is no matter of where a file is
        with pytest.raises(ConfigError, match=message):
            located("a/b", arguments)


def test_located():
    assert located("s3://a", {"backend": "petrel"}) == "s3://a"
    assert located("gs://a", {"backend": "gcs"}) == "gs://a"
    assert located("a/b", {"backend": "disk"}) == "a/b"
    assert located("work/a", {"backend": "petrel", "path_mapping": {"work": "s3://b"}}) == "s3://b/a"
    assert located("memory://a", None) == "memory://a"
    with pytest.raises(ConfigError, match=r"backend='s3', .*'work' do not go together: write the folder as 's3://"):
        located("work", {"backend": "petrel"})
    with pytest.raises(ConfigError, match="the backend 'file' and 's3://a' the store 's3'"):
        located("s3://a", {"backend": "disk"})
    with pytest.raises(ConfigError, match=r"path_mapping='a' must be a dict"):
        located("s3://a", {"backend": "s3", "path_mapping": "a"})
    with pytest.raises(ConfigError, match="names a cluster"):
        located("c1:s3://a", {"backend": "petrel"})


def test_an_option_that_the_store_does_not_have():
    class Strict(Shelf):
        def __init__(self):
            super().__init__()

    fsspec.register_implementation("shelf", Strict, clobber=True)
    with pytest.raises(ConfigError, match=r"shelf://a: .*'nonsense'"):
        exists("shelf://a", {"nonsense": 1})


def test_a_model_in_a_store():
    save_checkpoint(torch.nn.Linear(1, 1), "shelf://a/m.pth", file_client_args={"backend": "shelf", "owner": "me"})
    assert list(read_checkpoint("shelf://a/m.pth")["state_dict"]) == ["weight", "bias"]


@pytest.mark.parametrize("path", ["{tmp}/a.pth", "memory://a.pth"])
@pytest.mark.parametrize("options", [5, "disk", [("key", "k")], {3: "k"}])
def test_storage_options_that_are_none(path, options, tmp_path, made):
    path = path.format(tmp=tmp_path)
    for use in (
        lambda: write_checkpoint({}, path, options),
        lambda: exists(path, options),
        lambda: remove(path, options),
        lambda: open_to_read(path, options).__enter__(),
        lambda: place_for(path, options).__enter__(),
        lambda: upload(made(b"1"), path, options),
        lambda: check_writable(path, options),
    ):
        with pytest.raises(ConfigError, match=r"storage_options must be a dict of the store's arguments, .* not"):
            use()
    assert not (tmp_path / "a.pth").exists()


# before a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["{tmp}/new/er", "file://{tmp}/new/er", "{tmp}"])
def test_a_local_folder_is_made_and_stays_empty(folder, tmp_path):
    check_writable(folder.format(tmp=tmp_path))
    place = tmp_path if folder == "{tmp}" else tmp_path / "new" / "er"
    assert list(place.iterdir()) == []


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    check_writable("~/runs")
    assert (tmp_path / "runs").is_dir()


def test_a_local_folder_that_cannot_be(made):
    for folder in (str(made(b"a file")), f"{made(b'a file')}/below"):
        with pytest.raises(ConfigError, match=rf"^out_dir: nothing can be written to {re.escape(folder)} \("):
            check_writable(folder)
    with pytest.raises(ConfigError, match=r"nothing can be written to .*null byte"):
        check_writable("a\0b")
    with pytest.raises(ConfigError, match=r"^CheckpointHook's out_dir: nothing can be written to"):
        check_writable(str(made(b"a file")), argument="CheckpointHook's out_dir")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_local_folder_that_cannot_be_written_to():
    with pytest.raises(ConfigError, match=r"^out_dir: nothing can be written to /proc/self \("):
        check_writable("/proc/self")


def test_of_a_store_the_client_alone_is_made():
    check_writable("shelf://deep/er", {"owner": "me"})
    check_writable("memory://deep/er")
    assert (Shelf.store, MemoryFileSystem.store) == ({}, {})


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("shlf://a/b", {}, r"shlf://a/b: Protocol not known: shlf; did you mean 'shelf'"),
        ("zzzz://a/b", {}, "zzzz://a/b: Protocol not known: zzzz; allowed are those of fsspec, such as 's3'"),
        ("simplecache::shlf://a", {}, "did you mean 'shelf'"),
        ("http://host/a", {}, r"http://host/a can be read but not written; name a local folder, or a store such as"),
        ("simplecache::https://host/a", {}, "can be read but not written"),
        ("missing://a/b", {}, r"missing://a/b: the package that speaks 'missing' is not installed: .*pip install it"),
        ("strict://a/b", {"nonsense": 1}, r"strict://a/b: .*'nonsense'"),
        ("strict://a/b", {"fail": True}, r"strict://a/b cannot be reached \(ConnectionError: nobody answers\)"),
    ],
)
def test_stores_that_cannot_be_written_to(folder, options, message):
    class Strict(Shelf):
        def __init__(self, fail=False):
            super().__init__()
            if fail:
                raise ConnectionError("nobody answers")

    fsspec.register_implementation("strict", Strict, clobber=True)
    fsspec.register_implementation("missing", "no.such.Store", clobber=True, errtxt="pip install it")
    with pytest.raises(ConfigError, match=rf"^out_dir: {message}" if "::" not in folder else message):
        check_writable(folder, options)
    assert Shelf.store == {}
