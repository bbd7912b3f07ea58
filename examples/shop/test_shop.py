"""What the shop promises; run at build time by `clarion build`, and by `python3 -m unittest`."""

import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import shop


class ShopTest(unittest.TestCase):
    """A real shop on a free port of loopback."""

    def setUp(self) -> None:
        self.server = shop.Shop(("127.0.0.1", 0), shop.Page)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def tearDown(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.finish()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def test_it_sells_what_it_has(self) -> None:
        assert "coffee" in self.get("/")[1]

    def test_it_says_which_version_runs(self) -> None:
        assert self.get("/version") == (200, f"{shop.VERSION}\n")

    def test_it_is_ready(self) -> None:
        assert self.get("/healthz") == (200, "ready\n")

    def test_other_pages_do_not_exist(self) -> None:
        assert self.get("/../VERSION")[0] == 404

    def test_the_check_passes_while_this_version_runs(self) -> None:
        assert shop.check(self.server.server_port) == 0

    def test_the_check_fails_where_nothing_listens(self) -> None:
        assert shop.check(1) == 1

    def test_this_release_is_whole(self) -> None:
        assert shop.self_test() == 0

    def test_the_version_comes_with_the_release(self) -> None:
        assert (Path(shop.__file__).parent / "VERSION").read_text().strip() == shop.VERSION


if __name__ == "__main__":
    unittest.main()
