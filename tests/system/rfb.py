"""A small VNC client (RFC 6143): the handshake, the password, the picture, a key.

As a program it tries a handshake from wherever it is started: rfb.py PORT [PASSWORD].
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB

VERSION = b"RFB 003.008\n"
NO_PASSWORD, VNC_PASSWORD = 1, 2
ANSWER_LIMIT_S = 10.0


class Refused(Exception):
    """The server let nobody in; the text says why."""


@dataclass
class Screen:
    """An open session. `size` is in pixels, `name` what the server calls itself."""

    connection: socket.socket
    size: tuple[int, int]
    name: str

    def press(self, keysym: int) -> None:
        """Press a key, by its X11 keysym, and let it go."""
        for down in (1, 0):
            self.connection.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def picture(self) -> bytes:
        """The whole screen, four bytes a pixel."""
        self.connection.sendall(struct.pack(">BxHi", 2, 1, 0))
        self.connection.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, *self.size))
        width, height = self.size
        pixels = bytearray(4 * width * height)
        kind, rectangles = struct.unpack(">BxH", _read(self.connection, 4))
        assert kind == 0, f"message {kind} instead of a picture"
        for _ in range(rectangles):
            x, y, w, h, encoding = struct.unpack(">HHHHi", _read(self.connection, 12))
            assert encoding == 0, f"encoding {encoding} was not asked for"
            for row in range(h):
                at = 4 * ((y + row) * width + x)
                pixels[at : at + 4 * w] = _read(self.connection, 4 * w)
        return bytes(pixels)

    def close(self) -> None:
        """End the session."""
        self.connection.close()


def connect(port: int, password: str = "", *, host: str = "127.0.0.1") -> Screen:
    """A session. Raises Refused, or OSError where nobody listens."""
    connection = socket.create_connection((host, port), ANSWER_LIMIT_S)
    try:
        _let_in(connection, password)
        connection.sendall(b"\1")
        width, height, _, length = struct.unpack(">HH16sI", _read(connection, 24))
        return Screen(connection, (width, height), _read(connection, length).decode())
    except BaseException:
        connection.close()
        raise


def _let_in(connection: socket.socket, password: str) -> None:
    assert _read(connection, 12) == VERSION
    connection.sendall(VERSION)
    kinds = _read(connection, _read(connection, 1)[0])
    if VNC_PASSWORD in kinds:
        connection.sendall(bytes([VNC_PASSWORD]))
        connection.sendall(_answer(password, _read(connection, 16)))
    elif NO_PASSWORD in kinds:
        connection.sendall(bytes([NO_PASSWORD]))
    else:
        raise Refused(f"security types {list(kinds)}")
    if _read(connection, 4) != b"\0\0\0\0":
        (length,) = struct.unpack(">I", _read(connection, 4))
        raise Refused(_read(connection, length).decode())


def _answer(password: str, challenge: bytes) -> bytes:
    """VNC's use of DES: the password is the key, the bits of each byte in reverse."""
    padded = password.encode()[:8].ljust(8, b"\0")
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in padded)
    return Cipher(TripleDES(3 * key), ECB()).encryptor().update(challenge)


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise Refused("the server hung up")
        data += more
    return data


if __name__ == "__main__":
    try:
        connect(int(sys.argv[1]), "".join(sys.argv[2:3]))
        sys.stdout.write("let in")
    except Refused as error:
        sys.stdout.write(f"refused: {error}")
