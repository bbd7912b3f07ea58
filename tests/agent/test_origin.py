"""An origin has one spelling, and an address that hides something has none."""

from __future__ import annotations

import pytest

from clarion_agent.origin import origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://bucket.example/a?b=c#d", "https://bucket.example"),
        ("https://bucket.example:443/", "https://bucket.example"),
        ("http://Minio.Internal:9000/x", "http://minio.internal:9000"),
        ("http://minio:80", "http://minio"),
        ("http://minio:", "http://minio"),
        ("http://minio:443", "http://minio:443"),
        ("HTTPS://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443"),
        ("https://[2001:DB8:0:0::1]/", "https://[2001:db8::1]"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """However the address spells them."""
    assert origin_of(url) == origin
    assert origin_of(origin) == origin


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("file:///etc/shadow", id="a file"),
        pytest.param("ftp://host/x", id="another protocol"),
        pytest.param("//host/x", id="no scheme"),
        pytest.param("https:///x", id="no host"),
        pytest.param("https://joe@host/", id="a name"),
        pytest.param("https://joe:secret@host/", id="a password"),
        pytest.param("https://@host/", id="an empty name"),
        pytest.param("http://host:0/", id="port 0"),
        pytest.param("http://host:99999/", id="a port that cannot be"),
        pytest.param("http://host:x/", id="a port that is no number"),
        pytest.param("http://[::1/", id="half an address"),
        pytest.param("http://[fe80::1%25eth0]/", id="an address in one network card's zone"),
        pytest.param("https://[::::]/", id="an address that has too many colons"),
        pytest.param("https://[:.]/", id="an address of nothing"),
        pytest.param("https://good\\.evil/", id="a backslash, where parsers disagree"),
        pytest.param("https://good%2eevil/", id="a name that is encoded"),
        pytest.param("https://g\u00f6\u00f6d/", id="a name that is not ASCII"),
    ],
)
def test_an_address_that_names_no_web_server_has_none(url: str) -> None:
    """So nothing that is compared by its origin can be one of these."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (what it says differs)
        origin_of(url)
    assert "secret" not in str(caught.value)
