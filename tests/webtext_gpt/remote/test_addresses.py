from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.paths import check_output_folder, local_path, place_of
from webtext_gpt.remote.addresses import checked_address, is_address, under


@pytest.mark.parametrize("text", ["s3://b", "gs://b/x", "hf://datasets/a/b", "S3://b", "a::s3://b"])
def test_an_address_has_a_scheme(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["a/b", "/a", "s3:/b", "s3:b", "file:///a", "~/x", "", "a b://c"])
def test_a_path_is_not_an_address(text: str) -> None:
    assert not is_address(text)


def test_what_is_in_a_folder_is_named_alike() -> None:
    assert under("s3://b/corpus/", "links") == "s3://b/corpus/links"
    assert under("corpus/", "links") == "corpus/links"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://me:hunter2@b/x", "must not hold a user or password"),
        ("https://host/x?X-Amz-Signature=hunter2", "may hold a secret"),
        ("simplecache::s3://b/x", "give one address"),
        ("s3://b/../../etc", "no part of it may be empty"),
        ("s3://b//x", "no part of it may be empty"),
        ("s3://", "no part of it may be empty"),
    ],
)
def test_an_address_that_cannot_be_recorded_is_refused(address: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        checked_address(address, "out")
    assert "hunter2" not in str(caught.value)


def test_a_file_address_is_a_path() -> None:
    assert local_path("file:///tmp/a") == Path("/tmp/a")


def test_an_address_where_a_path_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run_dir=s3://b/run is an address, but a path"):
        local_path("s3://b/run", "run_dir")


def test_no_folder_is_named_like_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"out=s3://b/run is an address"):
        check_output_folder(Path("s3://b/run"), "out")
    Path("s3:").mkdir()
    check_output_folder(Path("s3:/run"), "out")  # the user's own folder


def test_the_place_of_an_address_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBTEXT_GPT_CACHE", str(tmp_path))
    assert place_of("s3://b/x/y.txt") == tmp_path / "remote/s3/b/x/y.txt"
