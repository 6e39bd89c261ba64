"""A raw PostgreSQL protocol client: it sends what it is told and reads what comes, message by message.

Drivers hide the wire; these tests compare it. Nothing here retries, reorders or forgives."""

import base64
import hashlib
import hmac
import os
import select
import socket
import struct
import time

PROTOCOL_3_0 = 196608
PROTOCOL_3_2 = 196610
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class Closed(Exception):
    """The peer closed the connection, cleanly or not."""


class Late(Exception):
    """Nothing came within the deadline."""


class Refused(Exception):
    """The login ended with an ErrorResponse; its fields are in .fields."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
        self.fields = fields


# ---- messages of the client -----------------------------------------------------------------------------


def text(value):
    return (value.encode() if isinstance(value, str) else value) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def startup(parameters, version=PROTOCOL_3_0):
    body = struct.pack(">I", version)
    body += b"".join(text(key) + text(value) for key, value in parameters.items()) + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def request(code):
    return struct.pack(">II", 8, code)


def cancel(pid, key):
    return struct.pack(">III", 12 + len(key), CANCEL_REQUEST, pid) + key


def query(sql):
    return message("Q", text(sql))


def parse(name, sql, oids=()):
    return message("P", text(name) + text(sql) + struct.pack(f">H{len(oids)}I", len(oids), *oids))


def bind(portal, statement, values=(), formats=(), results=()):
    body = text(portal) + text(statement) + struct.pack(f">H{len(formats)}H", len(formats), *formats)
    body += struct.pack(">H", len(values))
    for value in values:
        if value is None:
            body += struct.pack(">i", -1)
        else:
            data = value.encode() if isinstance(value, str) else value
            body += struct.pack(">i", len(data)) + data
    return message("B", body + struct.pack(f">H{len(results)}H", len(results), *results))


def describe(kind, name):
    return message("D", kind.encode() + text(name))


def execute(portal="", limit=0):
    return message("E", text(portal) + struct.pack(">i", limit))


def close(kind, name):
    return message("C", kind.encode() + text(name))


def copy_data(data):
    return message("d", data.encode() if isinstance(data, str) else data)


def copy_fail(reason):
    return message("f", text(reason))


def function_call(oid, values):
    body = struct.pack(">IHHH", oid, 1, 1, len(values))
    for value in values:
        body += struct.pack(">i", len(value)) + value
    return message("F", body + struct.pack(">H", 1))


SYNC = message("S")
FLUSH = message("H")
COPY_DONE = message("c")
TERMINATE = message("X")


def run(sql, values=(), limit=0, name=""):
    """Parse, Bind, Describe and Execute of one statement, without Sync."""
    return parse(name, sql) + bind("", name, values) + describe("P", "") + execute("", limit)


# ---- messages of the server -----------------------------------------------------------------------------


def error_fields(body):
    fields = {}
    for part in body.split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode("utf-8", "replace")
    return fields


def data_row(body):
    count = struct.unpack_from(">H", body)[0]
    at, row = 2, []
    for _ in range(count):
        length = struct.unpack_from(">i", body, at)[0]
        at += 4
        if length < 0:
            row.append(None)
        else:
            row.append(body[at : at + length])
            at += length
    return row


def row_description(body):
    count = struct.unpack_from(">H", body)[0]
    at, columns = 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        name = body[at:end].decode()
        table, column, kind, size, modifier, form = struct.unpack_from(">IHIhiH", body, end + 1)
        columns.append((name, table, column, kind, size, modifier, form))
        at = end + 1 + 18
    return columns


# ---- SCRAM ----------------------------------------------------------------------------------------------

salted_passwords = {}


def salted_password(password, salt, iterations):
    """Many clients log in with one password; the slow hash is paid once for each salt."""
    key = (password, salt, iterations)
    if key not in salted_passwords:
        salted_passwords[key] = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return salted_passwords[key]


def scram_final(password, first_bare, server_first):
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = salted_password(password, base64.b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final_bare = "c=biws,r=" + fields["r"]
    auth = f"{first_bare},{server_first},{final_bare}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = base64.b64encode(hmac.digest(server_key, auth, "sha256")).decode()
    return f"{final_bare},p={base64.b64encode(proof).decode()}", expected


# ---- the connection -------------------------------------------------------------------------------------


class Wire:
    """One connection. `login` may be left out to send first bytes of one's own."""

    def __init__(self, host, port, timeout=30.0, tls=None, receive_buffer=None, session=None):
        self.timeout = timeout
        self.inbox = bytearray()
        self.at = 0
        self.parameters = {}
        self.pid, self.key = 0, b""
        self.greeting = []
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(timeout)
            self.socket.connect((host, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.send(request(SSL_REQUEST))
            answer = self.socket.recv(1)
            if answer != b"S":
                raise Closed(f"TLS was answered with {answer!r}")
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost", session=session)

    def login(self, user, password=None, database=None, parameters=None, version=PROTOCOL_3_0):
        wanted = {"user": user}
        if database is not None:
            wanted["database"] = database
        wanted.update(parameters or {})
        self.send(startup(wanted, version))
        self.authenticate(user, password)
        return self

    def authenticate(self, user, password):
        expected = ""
        first_bare = ""
        while True:
            kind, body = self.receive()
            self.greeting.append((kind, body))
            if kind == "E":
                raise Refused(error_fields(body))
            if kind == "R":
                code = struct.unpack_from(">I", body)[0]
                if code == 3:
                    self.send(message("p", text(password)))
                elif code == 5:
                    inner = hashlib.md5((password + user).encode()).hexdigest().encode()
                    self.send(message("p", text("md5" + hashlib.md5(inner + body[4:8]).hexdigest())))
                elif code == 10:
                    first_bare = "n=,r=" + base64.b64encode(os.urandom(18)).decode()
                    initial = ("n,," + first_bare).encode()
                    self.send(message("p", text("SCRAM-SHA-256") + struct.pack(">I", len(initial)) + initial))
                elif code == 11:
                    final, expected = scram_final(password, first_bare, body[4:].decode())
                    self.send(message("p", final.encode()))
                elif code == 12:
                    assert body[4:].decode() == "v=" + expected, "the server's SCRAM signature is wrong"
            elif kind == "S":
                key, value = body.split(b"\0")[:2]
                self.parameters[key.decode()] = value.decode()
            elif kind == "K":
                self.pid, self.key = struct.unpack_from(">I", body)[0], bytes(body[4:])
            elif kind == "Z":
                return

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed(str(error)) from error

    def send_while_reading(self, data, piece=1 << 16):
        """Writes all of data and keeps reading into the inbox meanwhile, as libpq's non-blocking mode does."""
        self.socket.setblocking(False)
        try:
            view, deadline = memoryview(data), time.monotonic() + self.timeout
            while view:
                left = deadline - time.monotonic()
                readable, writable, _ = select.select([self.socket], [self.socket], [], max(left, 0))
                if not readable and not writable:
                    raise Late("the peer neither reads nor writes")
                if readable:
                    got = self.socket.recv(1 << 18)
                    if not got:
                        raise Closed("closed while sending")
                    self.inbox += got
                    deadline = time.monotonic() + self.timeout
                if writable:
                    view = view[self.socket.send(view[:piece]) :]
                    deadline = time.monotonic() + self.timeout
        finally:
            self.socket.settimeout(self.timeout)

    def fill(self):
        try:
            got = self.socket.recv(1 << 18)
        except (TimeoutError, socket.timeout) as error:
            raise Late(f"nothing came within {self.timeout} s") from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed(str(error)) from error
        if not got:
            raise Closed("end of stream")
        if self.at > 1 << 16:
            del self.inbox[: self.at]
            self.at = 0
        self.inbox += got

    def receive(self):
        while len(self.inbox) - self.at < 5:
            self.fill()
        kind = chr(self.inbox[self.at])
        length = struct.unpack_from(">I", self.inbox, self.at + 1)[0]
        while len(self.inbox) - self.at < 1 + length:
            self.fill()
        body = bytes(self.inbox[self.at + 5 : self.at + 1 + length])
        self.at += 1 + length
        return kind, body

    def until(self, kinds, count=1):
        """Reads up to and with the count-th message of one of these kinds."""
        got = []
        while count:
            kind, body = self.receive()
            got.append((kind, body))
            if kind in kinds:
                count -= 1
        return got

    def ready(self, count=1):
        return self.until("Z", count)

    def ask(self, data, count=1):
        self.send(data)
        return self.ready(count)

    def query(self, sql):
        return self.ask(query(sql))

    def rows(self, sql):
        """Rows of a simple query as text; raises on an error."""
        return rows_of(self.query(sql))

    def value(self, sql):
        return self.rows(sql)[0][0]

    def at_end(self):
        """Whether the peer has closed, waiting up to the timeout for it; what still came is discarded."""
        try:
            while True:
                self.receive()
        except Closed:
            return True
        except Late:
            return False

    def close(self):
        try:
            self.socket.sendall(TERMINATE)
        except OSError:
            pass
        self.socket.close()

    def drop(self):
        """Closes without Terminate (FIN)."""
        self.socket.close()

    def reset(self):
        """Closes with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def rows_of(messages):
    for kind, body in messages:
        if kind == "E":
            fields = error_fields(body)
            raise AssertionError(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
    return [
        [None if value is None else value.decode() for value in data_row(body)]
        for kind, body in messages
        if kind == "D"
    ]


def kinds(messages):
    return "".join(kind for kind, _ in messages)


def sqlstates(messages):
    return [error_fields(body)["C"] for kind, body in messages if kind == "E"]


def statuses(messages):
    """The transaction states of the ReadyForQuery messages."""
    return "".join(body.decode() for kind, body in messages if kind == "Z")


def tags(messages):
    return [body.rstrip(b"\0").decode() for kind, body in messages if kind == "C"]
