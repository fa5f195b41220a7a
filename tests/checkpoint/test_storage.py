"""Files in stores that fsspec reaches: one in memory, and one that shows a file while it is being written."""

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import CheckpointError, ConfigError
from mmhooks.checkpoint import (
    exists,
    is_remote,
    join,
    open_to_read,
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
    ],
)
def test_file_client_args_without_an_equal(arguments, message):
    with pytest.raises(ConfigError, match=message):
        storage_options_of(arguments)


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
