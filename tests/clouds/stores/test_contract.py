"""What every package store promises, tried on the folder, moto (S3), fake-gcs-server and azurite.

What a double does not do is said in places.py.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3
from tests.clouds.stores.places import Place, put

from clarion_controller.stores.store import Span, Store, Stored
from clarion_protocol.errors import BadContent, UnknownPackage

# azurite may have to be installed first, which takes as long as the registry does.
pytestmark = pytest.mark.timeout(120, func_only=True)

CONTENT = random.Random(5).randbytes(300_000)
SIZE = len(CONTENT)
KEY = "shop/shop-1.0.0+build.7.tar.zst"
KEYS = [KEY, "shop/shop-1.0.0~rc1.tar.zst", "shop/shop-1.0.0.manifest.json.zst", "a b/ö-100%/c&d=e?f#g.tar.zst"]


@pytest.fixture
def store(place: Place) -> Store:
    """Return an empty store."""
    return place.open()


def get(store: Store, key: str = KEY, span: Span | None = None) -> bytes:
    """Return bytes of an object."""
    return b"".join(store.get(key, span))


@pytest.mark.parametrize("key", KEYS)
def test_what_is_put_is_what_is_got(store: Store, tmp_path: Path, key: str) -> None:
    """Under that key, whatever characters it is made of, and under no other."""
    assert put(store, key, CONTENT, tmp_path)
    assert get(store, key) == CONTENT
    assert store.head(key) == Stored(key, SIZE)
    assert list(store.list()) == [Stored(key, SIZE)]


SPANS = {
    "the first byte": Span(0, 1), "the last byte": Span(SIZE - 1, 1), "from the middle": Span(1000, 70_000),
    "all of it": Span(0, SIZE), "nothing": Span(10, 0), "over the end": Span(SIZE - 3, 100),
    "from the end": Span(SIZE, 5), "far behind the end": Span(SIZE * 9, 5),
}  # fmt: skip


def test_a_span_is_those_bytes(store: Store, tmp_path: Path) -> None:
    """What of it lies behind the object's end is not there; that is no error."""
    put(store, KEY, CONTENT, tmp_path)
    for name, span in SPANS.items():
        assert get(store, span=span) == CONTENT[span.offset : span.offset + span.length], name


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path) -> None:
    """It is there, with no bytes."""
    assert put(store, KEY, b"", tmp_path)
    assert store.head(KEY) == Stored(KEY, 0)
    assert get(store) == get(store, span=Span(0, 5)) == b""


def test_what_lies_under_a_key_never_changes(store: Store, tmp_path: Path) -> None:
    """A second put says that it was not needed, whatever it brings."""
    assert put(store, KEY, CONTENT, tmp_path)
    assert not put(store, KEY, CONTENT, tmp_path)
    assert not put(store, KEY, b"other", tmp_path)
    assert get(store) == CONTENT


def test_of_two_that_put_at_once_one_wins(place: Place, tmp_path: Path) -> None:
    """The bytes are the winner's, and the other is told."""
    for round_ in range(5):
        key, start, won = f"shop/shop-{round_}.tar.zst", threading.Barrier(2), dict[int, bool]()

        def race(me: int, key: str = key, start: threading.Barrier = start, won: dict[int, bool] = won) -> None:
            store = place.open()
            assert store.head(key) is None
            start.wait(20)
            won[me] = put(store, key, b"%d" % me * 50_000, tmp_path)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(won.values()) == [False, True]
        winner = next(me for me, is_first in won.items() if is_first)
        assert get(place.open(), key) == b"%d" % winner * 50_000


def test_a_file_that_is_not_what_was_signed_is_not_stored(store: Store, tmp_path: Path) -> None:
    """Nor does it hide behind one that is."""
    file = tmp_path / "upload"
    file.write_bytes(CONTENT)
    with pytest.raises(BadContent, match="nothing was stored"):
        store.put_if_absent(KEY, file, "0" * 64)
    assert store.head(KEY) is None
    assert list(store.list()) == []
    put(store, KEY, b"the right one", tmp_path)
    with pytest.raises(BadContent):
        store.put_if_absent(KEY, file, "0" * 64)


def test_what_is_not_there_is_said_not_to_be(store: Store, tmp_path: Path) -> None:
    """None, an empty list, or an error that names it; also beside what is there."""
    put(store, KEY, CONTENT, tmp_path)
    for missing in ("shop/shop-9.tar.zst", "shop", KEY + "x", KEY + "/below", "other/x"):
        assert store.head(missing) is None
        for span in (None, Span(0, 10)):
            with pytest.raises(UnknownPackage, match="no " + missing.replace("+", r"\+")):
                get(store, missing, span)


def test_a_listing_is_in_order_and_by_prefix(store: Store, tmp_path: Path) -> None:
    """The order is that of the keys' bytes, in which "-" comes before "/"; a prefix may end anywhere."""
    keys = ["shop/b.tar.zst", "shop-admin/a.tar.zst", "shop/Z.tar.zst", "shop/a+1.tar.zst", "blog/ä.tar.zst", "shop/a"]
    for number, key in enumerate(keys):
        put(store, key, b"x" * number, tmp_path)
    assert [stored.key for stored in store.list()] == sorted(keys, key=str.encode)
    assert [stored.key for stored in store.list("shop/")] == [
        "shop/Z.tar.zst",
        "shop/a",
        "shop/a+1.tar.zst",
        "shop/b.tar.zst",
    ]
    assert [stored.key for stored in store.list("sh")] == sorted(each for each in keys if each.startswith("sh"))
    assert list(store.list("shop/b")) == [Stored("shop/b.tar.zst", 0)]
    assert list(store.list("nothing")) == []


def test_a_delete_may_be_repeated(store: Store, tmp_path: Path) -> None:
    """What is gone stays gone without an error, and the key is free again."""
    put(store, KEY, CONTENT, tmp_path)
    put(store, "shop/other", b"x", tmp_path)
    store.delete(KEY)
    store.delete(KEY)
    assert [stored.key for stored in store.list()] == ["shop/other"]
    assert put(store, KEY, b"new", tmp_path)


def test_no_key_leaves_the_prefix(store: Store, tmp_path: Path) -> None:
    """A key is a path inside; others do not exist, and nothing is asked for them."""
    for key in ("../secret", "shop/../../x", "/shop", "", "shop//x", "shop/", "shop/.partial-x", "shop/\nx"):
        for call in (store.head, store.delete, partial(get, store), partial(put, store, content=b"x", folder=tmp_path)):
            with pytest.raises(UnknownPackage):
                call(key)


def test_a_prefix_keeps_stores_in_one_bucket_apart(cloud: Place, tmp_path: Path) -> None:
    """Slashes around it mean nothing, and what others put beside it is not seen."""
    one, same, two = (cloud.open(prefix=prefix) for prefix in ("team/one", "/team/one/", "team/on"))
    put(one, KEY, CONTENT, tmp_path)
    assert get(same) == CONTENT
    assert two.head(KEY) is None
    assert list(two.list()) == []
    one.delete(KEY)


NOT_KEPT = "moto looks at no signature and no time; a folder, and Google at an http endpoint, have no addresses"


def fetched(url: str, **headers: str) -> tuple[int, bytes]:
    """Return the status and body of a plain GET."""
    answer = urllib3.request("GET", url, headers=headers, timeout=10, retries=False)
    return answer.status, answer.data


@pytest.mark.parametrize("key", KEYS)
def test_whoever_has_an_address_gets_the_object(place: Place, tmp_path: Path, key: str) -> None:
    """By plain HTTP, whole or one range of it; a store without addresses says None."""
    store = place.open()
    put(store, key, CONTENT, tmp_path)
    url = store.presign(key, 60)
    assert (url is not None) == place.has_addresses
    if url:
        assert fetched(url) == (200, CONTENT)
        assert fetched(url, Range="bytes=1000-1999") == (206, CONTENT[1000:2000])


def test_an_address_is_for_one_object_and_only_to_read(place: Place, tmp_path: Path) -> None:
    """The signature covers the key and the verb."""
    if not place.keeps_addresses:
        pytest.skip(NOT_KEPT)
    store = place.open()
    for key in ("shop/mine", "shop/other"):
        put(store, key, CONTENT, tmp_path)
    url = store.presign("shop/mine", 60)
    assert url
    assert fetched(url.replace("mine", "other"))[0] == 403
    assert urllib3.request("DELETE", url, timeout=10).status == 403
    assert store.head("shop/mine")


def test_an_address_ends(place: Place, tmp_path: Path) -> None:
    """After `ttl` seconds it is worth nothing."""
    if not place.keeps_addresses:
        pytest.skip(NOT_KEPT)
    store = place.open()
    put(store, KEY, CONTENT, tmp_path)
    url = store.presign(KEY, 1)
    assert url
    until = time.monotonic() + 20
    while fetched(url)[0] != 403:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_an_address_is_never_good_for_longer_than_clouds_allow(place: Place) -> None:
    """A ttl of a month gives what there is, not an error."""
    url = place.open().presign(KEY, 30 * 24 * 3600)
    assert (url is not None) == place.has_addresses


def test_a_reader_that_stops_early_costs_nothing(store: Store, tmp_path: Path) -> None:
    """Its connection or file is closed with the generator, and the store goes on."""
    put(store, KEY, CONTENT, tmp_path)
    chunks = store.get(KEY)
    assert isinstance(chunks, Iterator)
    assert next(chunks)
    del chunks
    assert get(store) == CONTENT
