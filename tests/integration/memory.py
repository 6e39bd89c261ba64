"""What handshakes of TLS may take of memory that is nearly used up. The figures come from a folder with the kernel's files."""

import socket
import ssl

import wire
from harness import Failure, check, make_certificate, poll, same
from limits import count, turned_away
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)

MIB = 1 << 20
LIMIT = 4096 * MIB
# In bytes, as proxy/process has them: what a handshake is promised, and up to where handshakes are begun.
HANDSHAKE, FULL = 64 * 1024, LIMIT // 100 * 95
ALERT = b"\x15\x03\x03\x00\x02\x02\x50"


class Group:
    """A control group's files, and a pgmend that believes them."""

    def __init__(self, t):
        self.folder = t.directory / "group"
        self.folder.mkdir()
        self.write("memory.max", LIMIT)
        self.write("memory.stat", "anon 1")
        self.use(30 * MIB)
        certificate, key = make_certificate(t.run.directory, "memory")
        self.subject = t.own("short", only_live=True, settings={
            "listen": {"tls": {"mode": "prefer", "cert": str(certificate), "key": str(key)}},
            "machine": {"cgroup_root": str(self.folder)}, "admin": {"users": "app"}})

    def write(self, name, text):
        (self.folder / "new").write_text(f"{text}\n")
        (self.folder / "new").rename(self.folder / name)  # it is looked at all the time

    def use(self, size):
        self.write("memory.current", size)

    def knows(self, event):
        poll(lambda: f" {event}" in self.subject.log.read_text(), f"it has seen that: {event}")


def asks(t, subject):
    """A client that has asked for TLS, and what it was answered: nothing more comes of it."""
    client = t.wire(on=subject, login=False)
    client.send(wire.request(wire.SSL_REQUEST))
    return client, client.socket.recv(1, socket.MSG_PEEK)


def direct(t, subject):
    """What a client hears that begins with a handshake, when it is not the handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    client = t.wire(on=subject, login=False)
    client.send(outgoing.read())
    return client.socket.recv(100)


@test("memory: a TLS handshake is promised its memory until it is over, and where there is none the client is told in clear text",
      subjects=PGMEND)
def handshakes(t):
    group = Group(t)
    subject = group.subject
    group.use(FULL - 3 * HANDSHAKE - HANDSHAKE // 2)
    group.knows("memory_nearly_used_up")
    begun = []
    for _ in range(3):
        client, answer = asks(t, subject)
        same(answer, b"S", "there is room for it")
        begun.append(client)
    before = count(subject, "pgmend_clients_refused_total", '{reason="memory"}')
    told, answer = asks(t, subject)
    same(answer, b"E", "the fourth")
    fields = wire.error_fields(told.receive()[1])
    same([fields[key] for key in "SCMD"], ["FATAL", "53200", "too little memory is left for another client",
                                           "The limit is machine.memory, or that of pgmend's cgroup."])
    same(direct(t, subject), ALERT, "who speaks TLS at once")
    same(count(subject, "pgmend_clients_refused_total", '{reason="memory"}'), before + 2, "both are counted")
    # One gives up, and one comes through; each time there is room for one more.
    begun[0].drop()
    begun[0] = begins(t, subject)
    same(asks(t, subject)[1], b"E", "again the fourth")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    last = begun.pop()
    same(last.socket.recv(1), b"S")
    last.socket = context.wrap_socket(last.socket, server_hostname="localhost")
    begun.append(begins(t, subject))
    # Who is in TLS is told there, but for those who are to look after it.
    try:
        last.login("app", "", "app")
        raise Failure("a client was let in with too little memory")
    except wire.Refused as refusal:
        same(refusal.fields["C"], "53200")
    same(asks(t, subject)[1], b"E", "and the fourth")
    for each in begun:
        each.drop()
    same(t.wire(on=subject, database="pgmend").ask(wire.query("SHOW VERSION"))[-1][0], "Z", "who looks after it comes in")
    group.use(30 * MIB)
    group.knows("memory_available_again")
    same(turned_away(t, on=subject, tls=context), None, "when memory is back")
    check(all(asks(t, subject)[1] == b"S" for _ in range(8)), "and so are handshakes")


def begins(t, subject):
    """A client whose handshake may begin. The room was taken a moment ago, or is about to be free."""
    found = []

    def tried():
        client, answer = asks(t, subject)
        if answer == b"S":
            found.append(client)
        return found

    poll(tried, "there is room for one again")
    return found[0]
