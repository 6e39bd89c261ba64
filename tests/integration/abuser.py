"""Logins that are malformed, wrong or never finished, at a rate, until a line comes on standard input.

A process of its own, so that what it does costs the clients who are measured beside it nothing but the machine. Ends with a
line of JSON: how many it made, how many of each kind, and in how many seconds."""

import base64
import collections
import contextlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

import wire

HELD = 25  # by each thread: what was made last is left open, half-finished
THREADS = 4
stop = threading.Event()
LOGIN = wire.startup({"user": "app", "database": "app"})
FIRST = b"n,,n=,r=clientnonceclientnonce"


def sasl(data, length=None):
    return wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", length or len(data)) + data)


# What is sent at once, and then no more.
JUNK = {
    "nothing": b"",
    "length without end": b"\0\0\0\x08",
    "two gigabytes": struct.pack(">I", 0x7FFFFFFF),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(300),
    "TLS record": b"\x16\x03\x01",
    "half a startup packet": LOGIN[:20],
    "startup packet": LOGIN,
    "unknown user": wire.startup({"user": "nobody", "database": "app"}) + wire.message("p", b"x" * 50),
    "SASL longer than its message": LOGIN + sasl(b"n,,", 1 << 30),
    "client-first": LOGIN + sasl(FIRST),
    "query instead of password": LOGIN + wire.query("SELECT 1"),
    "9 kB of parameters": struct.pack(">II", 10000, wire.PROTOCOL_3_0) + b"user\0" + b"x" * 9000,
    "cancel of nobody": wire.cancel(1, b"1234"),
}


def wrong_password(connection):
    """A whole exchange with a proof that proves nothing; its answer is not waited for."""
    connection.sendall(LOGIN + sasl(FIRST))
    answer = b""
    while b",s=" not in answer:
        part = connection.recv(4096)
        if not part:
            return
        answer += part
    nonce = answer[answer.index(b"r=") + 2:].split(b",")[0]
    connection.sendall(wire.message("p", b"c=biws,r=" + nonce + b",p=" + base64.b64encode(os.urandom(32))))


def hello(context):
    """A real ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


class Abuser(threading.Thread):
    def __init__(self, place, rate, tls, number):
        super().__init__()
        self.place, self.rate, self.number = place, rate, number
        self.made, self.failed = collections.Counter(), 0
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.kinds = self.all_kinds()

    def all_kinds(self):
        """(name, what is done on a connection), in turn."""
        def sends(data):
            return lambda connection: connection.sendall(data)

        kinds = [(name, sends(data)) for name, data in JUNK.items()] + [("wrong password", wrong_password)]
        if not self.context:
            return [("SSLRequest", sends(wire.request(wire.SSL_REQUEST)))] + kinds
        greeting = hello(self.context)

        def half_way(data):
            def act(connection):
                connection.sendall(wire.request(wire.SSL_REQUEST))
                if connection.recv(1) == b"S":
                    connection.sendall(data)
            return act

        def inside(act):
            def secured(connection):
                connection.sendall(wire.request(wire.SSL_REQUEST))
                if connection.recv(1) != b"S":
                    return None
                secure = self.context.wrap_socket(connection, server_hostname="localhost")
                act(secure)
                return secure
            return secured

        return ([("SSLRequest", half_way(b"")), ("half a ClientHello", half_way(greeting[:100])),
                 ("ClientHello", half_way(greeting)), ("garbage for a ClientHello", half_way(bytes(200))),
                 ("ClientHello at once", sends(greeting))]
                + [(f"{name}, over TLS", inside(act)) for name, act in kinds])

    def run(self):
        held, turn, begun = collections.deque(), self.number * 5, time.monotonic()
        while not stop.is_set():
            name, act = self.kinds[turn % len(self.kinds)]
            connection = None
            try:
                connection = socket.create_connection(self.place, 10)
                self.made[name] += 1
                connection = act(connection) or connection
            except (OSError, ValueError):
                self.failed += connection is None
            if connection is not None:
                held.append(connection)
            if len(held) > HELD:
                held.popleft().close()
            turn += 1
            stop.wait(max(0.0, begun + (turn - self.number * 5) / self.rate - time.monotonic()))
        for connection in held:
            connection.close()


def main():
    host, port, rate, tls = sys.argv[1:]
    abusers = [Abuser((host, int(port)), float(rate) / THREADS, tls == "tls", number) for number in range(THREADS)]
    begun = time.monotonic()
    for abuser in abusers:
        abuser.start()
    print("running", flush=True)
    sys.stdin.readline()
    took = time.monotonic() - begun
    stop.set()
    for abuser in abusers:
        abuser.join()
    made = sum((abuser.made for abuser in abusers), collections.Counter())
    print(json.dumps({"made": made.total(), "failed": sum(abuser.failed for abuser in abusers), "kinds": made, "seconds": took}))


if __name__ == "__main__":
    main()
