"""Addresses: what is one, what a copy is called, and what people may see of it."""

import pytest

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.files import urls


@pytest.mark.parametrize(
    "where, url",
    [
        ("/data/x.csv", "file:///data/x.csv"),
        ("x y#?%.csv", "file:///home/me/x%20y%23%3F%25.csv"),
        ("../x", "file:///home/x"),
        ("file:///x", "file:///x"),
        ("file://localhost/x", "file://localhost/x"),
        ("HTTPS://Host/x?a=b", "https://Host/x?a=b"),
        ("s3://bucket/a b?#.csv", "s3://bucket/a b?#.csv"),
    ],
)
def test_paths_and_urls_become_urls(where: str, url: str) -> None:
    assert urls.checked(where, "/home/me") == url


@pytest.mark.parametrize(
    "where, sentence",
    [
        ("", "give a path"),
        ("a\0b", "give a path"),
        ("file://host/x", "'host' stands where a host does"),
        ("https:///x", "no host"),
        ("s3://bucket", "names no file"),
        ("https://host/folder/", "names no file"),
        ("/", "names no file"),
        ("ftp://me:secret@host/", "names no file"),
        ("ftp:/me:secret@host/x", r"write ftp://…, or \./ftp:… for a path"),
        ("http://me:secret@host:99999/x", "'host:99999': Port out of range"),
        ("ftp://host:abc/x", "'host:abc': Port could not be cast"),
        ("https://[::1/x", "Invalid IPv6"),
        ("file:/data/x", "write file://…"),
    ],
)
def test_what_is_none_is_refused_without_its_secrets(where: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        urls.checked(where, "/home/me")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url, name",
    [
        ("https://host/a/b%20c.tar.gz?download=1#top", "b c.tar.gz"),
        ("https://host/a/b%2Fc.txt", "b_c.txt"),
        ("s3://bucket/a/b%20c?.txt", "b%20c?.txt"),
        ("ftp://me:pass@host/a/what?.txt", "what?.txt"),
        ("pvc://claim/ü%20x", "ü x"),
        ("https://host/" + "x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("https://host/" + "ü" * 300 + ".csv", "ü" * 98 + ".csv"),
        ("https://host/..", ""),
    ],
)
def test_a_copy_is_called_as_the_last_part_of_the_path(url: str, name: str) -> None:
    assert urls.name_of(url) == name
    assert len(name.encode()) <= urls.MOST_NAME_BYTES


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://host/x", "https://host/x"),
        ("https://me:secret@host/x?sig=secret", "https://me:***@host/x?…"),
        ("https://secret@host/x", "https://***@host/x"),
        ("ftp://me:se@cret@host/x?.txt", "ftp://me:***@host/x?.txt"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("attic://me:secret@host?secret", "attic://me:***@host?…"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert urls.shown(url) == shown


def test_what_others_say_of_a_url_is_redacted_however_they_quote_it() -> None:
    url = "https://me:a%20b%21@host/x?sig=c%2Bd"
    for said in (url, "url='https://me:a b!@host/x?sig=c+d'", "user me:a%20b%21 and a b!"):
        found = urls.redacted(said, url)
        assert "a%20b" not in found
        assert "a b!" not in found
        assert "c+d" not in found
        assert "c%2Bd" not in found


def test_the_schemes_that_are_known_offline_are_those_of_our_stagers() -> None:
    ours = plugins.BUILT_IN[plugins.STAGERS]
    assert {name: plugins.load(plugins.STAGERS, name).writes for name in ours} == urls.OWN_SCHEMES  # type: ignore[attr-defined]
