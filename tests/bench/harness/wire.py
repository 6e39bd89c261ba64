"""A client of the PostgreSQL protocol that does as little as possible, so that what is measured is the proxy.

It logs in, holds connections idle by the thousand, and swallows or pours streams without looking at rows.
"""

import base64
import functools
import hashlib
import hmac
import os
import socket
import struct


class ServerError(Exception):
    pass


@functools.lru_cache(maxsize=None)
def salted_password(password, salt, rounds):
    """The expensive part of SCRAM: once for each secret, or 5,000 logins would measure this program."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)


def frame(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


class Connection:
    def __init__(self, port, user, password, database, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        startup = f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!ii", len(startup) + 8, 196608) + startup)
        self._authenticate(user, password)
        self._until_ready()

    def close(self):
        self.socket.close()

    def read_message(self):
        while len(self.pending) < 5 or len(self.pending) < 1 + struct.unpack_from("!i", self.pending, 1)[0]:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ServerError("closed by the server")
            self.pending += chunk
        end = 1 + struct.unpack_from("!i", self.pending, 1)[0]
        kind, body, self.pending = self.pending[:1], self.pending[5:end], self.pending[end:]
        if kind == b"E":
            raise ServerError(body.replace(b"\0", b" ").decode(errors="replace"))
        return kind, body

    def query(self, sql):
        """Runs a statement with a small answer and drops the answer."""
        self.socket.sendall(frame(b"Q", sql.encode() + b"\0"))
        self._until_ready()

    def swallow(self, sql, buffer=bytearray(1 << 18)):
        """Runs a statement with a large answer; returns the bytes received up to ReadyForQuery."""
        self.socket.sendall(frame(b"Q", sql.encode() + b"\0"))
        received, tail = 0, b""
        while not tail.endswith(b"Z\0\0\0\5I"):
            size = self.socket.recv_into(buffer)
            if size == 0:
                raise ServerError("closed by the server")
            received += size
            tail = (tail + bytes(buffer[max(0, size - 6) : size]))[-6:]
        return received

    def pour(self, sql, chunk, times):
        """Runs a COPY FROM STDIN that sends `chunk` (whole CopyData messages) so many times; returns the bytes."""
        self.socket.sendall(frame(b"Q", sql.encode() + b"\0"))
        while self.read_message()[0] != b"G":
            pass
        for _ in range(times):
            self.socket.sendall(chunk)
        self.socket.sendall(frame(b"c", b""))
        self._until_ready()
        return len(chunk) * times

    def _until_ready(self):
        while self.read_message()[0] != b"Z":
            pass

    def _authenticate(self, user, password):
        while True:
            kind, body = self.read_message()
            if kind != b"R":
                continue
            code = struct.unpack_from("!i", body)[0]
            if code == 0:
                return
            if code == 5:
                inner = hashlib.md5(f"{password}{user}".encode()).hexdigest()
                self.socket.sendall(frame(b"p", b"md5" + hashlib.md5(inner.encode() + body[4:8]).hexdigest().encode() + b"\0"))
            elif code == 10:
                self._scram(password)
            else:
                raise ServerError(f"authentication request {code}")

    def _scram(self, password):
        nonce = base64.b64encode(os.urandom(18)).decode()
        first_bare = f"n=,r={nonce}"
        first = f"n,,{first_bare}".encode()
        self.socket.sendall(frame(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        server_first = self.read_message()[1][4:].decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        salted = salted_password(password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final_bare = f"c=biws,r={fields['r']}"
        signed = f"{first_bare},{server_first},{final_bare}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.socket.sendall(frame(b"p", f"{final_bare},p={base64.b64encode(proof).decode()}".encode()))
        self.read_message()
