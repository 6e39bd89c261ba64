"""Clients that ask for TLS at one time: nobody goes on before all have come so far, so that a handshake is in the memory of each.
No thread of their own, as there are thousands."""

import contextlib
import select
import socket
import ssl

from running import wire
from harness import check

ALERT = b"\x15\x03\x03\x00\x02\x02\x50"


class Client:
    """`outcome` is "in", the SQLSTATE it was refused with, in clear text or in TLS, or how it was cut off."""

    def __init__(self, port, context, direct):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.asked, self.secured, self.said, self.outcome = not direct, False, b"", None
        self.socket.setblocking(False)
        if direct:
            self.go_on()
        else:
            self.socket.sendall(wire.request(wire.SSL_REQUEST))

    def readable(self):
        try:
            data = self.socket.recv(1 << 16)
        except OSError as error:
            self.outcome = type(error).__name__
            return
        if not data:
            self.outcome = "closed"
        elif data == ALERT:
            self.outcome = "alert"
        elif self.asked and data[:1] == b"E":
            self.outcome = self.refusal(data)
        elif self.asked:
            check(data == b"S", f"{data} in answer to a request for TLS")
            self.asked = False
            self.go_on()
        else:
            self.incoming.write(data)
            self.go_on()

    def go_on(self):
        try:
            if not self.secured:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self.tls.do_handshake()
                    self.secured = True
                    self.tls.write(wire.startup({"user": "app", "database": "app"}))
            else:
                with contextlib.suppress(ssl.SSLWantReadError):
                    while True:
                        self.said += self.tls.read()
            if data := self.outgoing.read():
                self.socket.sendall(data)
        except OSError as error:
            self.outcome = type(error).__name__
            return
        if self.said[:1] == b"E":
            self.outcome = self.refusal(self.said)
        elif self.said[-6:] == b"Z\0\0\0\5I":
            self.outcome = "in"

    @staticmethod
    def refusal(message):
        fields = wire.error_fields(message[5:])
        return fields["C"]

    def asks(self, number):
        """A query of one who is in; the answer is in `said`."""
        self.said = b""
        self.outcome = None
        self.tls.write(wire.query(f"SELECT {number}"))
        self.socket.sendall(self.outgoing.read())


def settle(clients, timeout=120_000):
    """Until each has its outcome."""
    left = {client.socket.fileno(): client for client in clients if client.outcome is None}
    poll = select.poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left:
        ready = poll.poll(timeout)
        check(ready, f"{len(left)} clients hear nothing")
        for descriptor, _ in ready:
            left[descriptor].readable()
            if left[descriptor].outcome is not None:
                poll.unregister(descriptor)
                del left[descriptor]


def come(port, count, direct=False):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if direct:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["postgresql"])
    clients = []
    for _ in range(count):
        clients.append(Client(port, context, direct))
    settle(clients)
    return clients


def outcomes(clients):
    found = {}
    for client in clients:
        found[client.outcome] = found.get(client.outcome, 0) + 1
    return found
