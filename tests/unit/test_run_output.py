"""What a command printed, apart from the foreword that says which process it is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vmops.remote.run import Stream, _Running


class Pieces:
    """A session that has nothing but output, taken in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def take(self) -> tuple[bytes, bytes]:
        return b"", self.pieces.pop(0) if self.pieces else b""


def handed_on(whole: bytes, cuts: list[int], running: _Running) -> None:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    running._session = Pieces(pieces)  # type: ignore[assignment]
    while pieces:
        running._hand_on()
    running._hand_on(last=True)


@given(
    before=st.binary(max_size=200),
    after=st.binary(max_size=200),
    pid=st.integers(1, 2**22),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_all_but_the_foreword_comes_whole_however_it_is_cut(
    before: bytes, after: bytes, pid: int, cuts: list[int]
) -> None:
    said: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}

    def take(stream: Stream, data: bytes) -> None:
        said[stream] += data

    running = _Running(None, take)  # type: ignore[arg-type]
    running._foreword = "the words of the foreword; "
    line = f"{running._nonce} {pid}\n".encode()
    handed_on(before + line + after, cuts, running)
    assert said == {"stdout": b"", "stderr": before + after}
    assert running.leader == pid


@given(
    noise=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"NONCE ", b"NONCE 12", b"1" * 30, b"\n"])
    ),
    cuts=st.lists(st.integers(0, 900), max_size=12),
)
def test_what_is_no_foreword_is_handed_on(noise: list[bytes], cuts: list[int]) -> None:
    said = bytearray()
    running = _Running(None, lambda _, data: said.extend(data))  # type: ignore[arg-type]
    running._foreword = "the words of the foreword; "
    whole = b"".join(noise).replace(b"NONCE", running._nonce.encode())
    handed_on(whole, cuts, running)
    assert bytes(said) == whole or running.leader is not None


def test_much_noise_is_not_kept() -> None:
    said = bytearray()
    running = _Running(None, lambda _, data: said.extend(data))  # type: ignore[arg-type]
    running._foreword = "the words of the foreword; "
    whole = b"noise\n" * 100_000 + f"{running._nonce} 7\n".encode() + b"after"
    handed_on(whole, list(range(0, 600_000, 5000)), running)
    assert len(running._held) < 100
    assert running.leader == 7
    assert bytes(said) == b"noise\n" * 100_000 + b"after"
