"""Images that a fake worker fetches itself, by a real curl and wget, from servers of every kind."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fabric
import pytest

from vmops.core.images.names import Base
from vmops.core.images.progress import Progress
from vmops.errors import ConnectionLost, WorkFailed
from vmops.remote.image import fetch as fetching
from vmops.remote.image.fetch import fetch
from vmops.remote.image.program import Program
from vmops.wait import wait_for

from .fake_worker import FakeWorker
from .web import Web

Start = Callable[..., FakeWorker]
Serve = Callable[..., tuple[Web, str]]

CONTENT = random.Random(1).randbytes(3_000_000) + bytes(4 << 20) + b"end" + bytes(200_000)
BASE = Base(hashlib.sha256(CONTENT).hexdigest(), "raw")


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Web] = []

    def start_one(**settings: Any) -> tuple[Web, str]:
        web = Web(CONTENT, **settings)
        started.append(web)
        return web, web.start()

    yield start_one
    for web in started:
        web.stop()


@pytest.fixture(params=["curl", "wget"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The worker has this one only."""
    only(tmp_path, monkeypatch, request.param)
    return str(request.param)


def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *tools: str) -> None:
    """A worker without other programs than these and what every one has."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "perl", "base64", "df", "sha256sum", *tools):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))


def final(home: Path, base: Base = BASE) -> Path:
    return Path(base.path.replace("~", str(home)))


def part(home: Path) -> Path:
    return final(home).with_name(f"{BASE.name}.part")


def begin_with(home: Path, data: bytes) -> None:
    """What an earlier fetch left."""
    part(home).parent.mkdir(parents=True)
    part(home).write_bytes(data)


def test_an_image_is_fetched_whole_sparse_and_once(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    web, url = serve()
    told: list[Progress] = []
    worker = start().worker()
    fetched = fetch(worker, url, base=BASE, on_progress=told.append, config=config)
    assert (fetched.sent, fetched.resumed_at) == (len(CONTENT), 0)
    assert final(home).read_bytes() == CONTENT
    assert final(home).stat().st_mode & 0o777 == 0o400
    assert final(home).stat().st_blocks * 512 < 4_000_000
    assert told[-1].doing == "checking"
    assert {one.total for one in told if one.total} <= {len(CONTENT)}
    assert fetch(worker, url, base=BASE, config=config).was_there
    assert len(web.asked) == 1


def test_a_redirection_is_followed(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    _, url = serve()
    fetch(start().worker(), url.replace("image", "moved"), base=BASE, config=config)
    assert final(home).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_what_has_come_is_not_fetched_again_where_the_server_can(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str, ranges: bool
) -> None:
    begin_with(home, CONTENT[:2_000_001])
    web, url = serve(ranges=ranges)
    fetched = fetch(start().worker(), url, base=BASE, config=config)
    assert final(home).read_bytes() == CONTENT
    assert web.asked[0] == "bytes=2000001-"
    if ranges:
        assert (fetched.resumed_at, fetched.sent) == (2_000_001, len(CONTENT) - 2_000_001)


def test_a_server_that_hangs_up_costs_what_had_not_come(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    web, url = serve(cut_after=1_500_000)
    worker = start().worker()
    with pytest.raises(WorkFailed, match="could not be fetched: ") as raised:
        fetch(worker, url, base=BASE, config=config)
    assert "goes on with what has come" in str(raised.value)
    assert not final(home).exists()
    assert part(home).stat().st_size == 1_500_000
    web.cut_after = None
    assert fetch(worker, url, base=BASE, config=config).resumed_at == 1_500_000
    assert final(home).read_bytes() == CONTENT


def test_what_had_come_whole_but_for_its_name_is_not_fetched_again(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    """It died while the sum was being made."""
    begin_with(home, CONTENT)
    _, url = serve()
    assert fetch(start().worker(), url, base=BASE, config=config).sent == 0
    assert final(home).read_bytes() == CONTENT


def test_a_bad_beginning_is_fetched_again(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    begin_with(home, b"bad" * 10_000)
    _, url = serve()
    assert fetch(start().worker(), url, base=BASE, config=config).resumed_at == 0
    assert final(home).read_bytes() == CONTENT


def test_another_image_than_promised_is_removed(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    _, url = serve()
    wrong = Base("0" * 64, "raw")
    with pytest.raises(WorkFailed, match=f"its sha256 is {BASE.digest}"):
        fetch(start().worker(), url, base=wrong, config=config)
    assert list(final(home, wrong).parent.iterdir()) == []


@pytest.mark.parametrize("begun", [b"", CONTENT[:1000]])
def test_an_image_that_is_not_there_is_told_as_the_server_says_it(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str, begun: bytes
) -> None:
    if begun:
        begin_with(home, begun)
    _, url = serve(status=404)
    with pytest.raises(WorkFailed, match="404"):
        fetch(start().worker(), url, base=BASE, config=config)
    assert list(final(home).parent.iterdir()) == []


def test_a_server_that_is_away_is_told(
    start: Start, home: Path, config: fabric.Config, tool: str
) -> None:
    with pytest.raises(WorkFailed, match=r"could not be fetched: .*([Rr]efused|onnect)") as raised:
        fetch(start().worker(), "http://127.0.0.1:1/image", base=BASE, config=config)
    assert raised.value.worker == "w1"


def test_without_a_length_the_sum_alone_decides(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    _, url = serve(says_length=False)
    fetch(start().worker(), url, base=BASE, config=config)
    assert final(home).read_bytes() == CONTENT


def test_a_connection_that_drops_before_the_address_is_sent_is_told_as_such(
    start: Start, home: Path, config: fabric.Config, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = serve()
    fake = start()
    begin = Program.start

    def begin_and_drop(self: Program, arguments: Sequence[str]) -> None:
        begin(self, arguments)
        fake.hang_up()
        assert wait_for(lambda: True if self.was_cut() else None, 10)

    monkeypatch.setattr(Program, "start", begin_and_drop)
    with pytest.raises(ConnectionLost, match="goes on where it was cut"):
        fetch(fake.worker(), url, base=BASE, config=config)


def test_it_ends_with_the_connection_and_goes_on_with_the_next(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    web, url = serve(pause_s=0.05)
    fake = start()

    def cut(progress: Progress) -> None:
        if progress.done > 500_000:
            fake.hang_up()

    with pytest.raises(ConnectionLost, match="goes on where it was cut"):
        fetch(fake.worker(), url, base=BASE, on_progress=cut, config=config)
    web.pause_s = 0
    assert not final(home).exists()
    assert wait_for(lambda: None if url in processes() else True, 30)
    fetched = fetch(fake.worker(), url, base=BASE, config=config)
    assert fetched.was_there or fetched.resumed_at > 500_000
    assert final(home).read_bytes() == CONTENT


def test_the_address_stands_in_no_argument(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str
) -> None:
    _, url = serve(pause_s=0.02)
    seen: list[str] = []

    def look(_: Progress) -> None:
        seen.append(processes())

    fetch(start().worker(), f"{url}?secret", base=BASE, on_progress=look, config=config)
    assert seen
    assert not any("?secret" in one for one in seen)
    assert any(f"{tool}\0" in one for one in seen)


def processes() -> str:
    """What every user may see of the processes here."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


@pytest.mark.parametrize("address", ["{0}?a={{1,2}}&b=[1-3]", '{0}?"\\', "{0}?'$(id)`id`"])
def test_an_address_is_taken_as_it_is(
    start: Start, home: Path, config: fabric.Config, serve: Serve, tool: str, address: str
) -> None:
    web, url = serve()
    fetch(start().worker(), address.format(url), base=BASE, config=config)
    assert len(web.asked) == 1


def test_a_disk_without_room_is_left_what_it_has(
    start: Start,
    home: Path,
    config: fabric.Config,
    serve: Serve,
    tool: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "STAYS_FREE", 1 << 60)
    _, url = serve(pause_s=0.05)
    with pytest.raises(WorkFailed, match="MiB are free"):
        fetch(start().worker(), url, base=BASE, config=config)
    assert not final(home).exists()


def test_a_worker_without_curl_and_wget_says_so(
    start: Start, config: fabric.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(tmp_path, monkeypatch)
    with pytest.raises(WorkFailed, match="neither curl nor wget") as raised:
        fetch(start().worker(), "http://127.0.0.1:1/x", base=BASE, config=config)
    assert "apt install curl" in str(raised.value)
