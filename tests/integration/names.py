"""A name server of a test's own, and a pgmend that asks it.

glibc asks the addresses of /etc/resolv.conf, at port 53. So the server has port 53 of a loopback address of its own,
and pgmend runs in a mount namespace with another resolv.conf: both take root, as the whole run does in a container."""

import contextlib
import os
import random
import socket
import struct
import threading

SRV, A, AAAA = 33, 1, 28


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


class NameServer:
    """Answers SRV and A. `mood` says how: good, silent, servfail, nxdomain, garbage, empty, root, or cut."""

    def __init__(self, test):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # One of many addresses: another run may be going on beside this one.
        while True:
            self.address = f"127.53.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
            try:
                self.socket.bind((self.address, 53))
                break
            except OSError as error:
                if error.errno != 98:
                    raise
        self.services = {}  # name -> [(priority, weight, port, target)]
        self.hosts = {}     # name -> address
        self.mood = "good"
        self.ttl = 1
        self.asked = []     # (name, type), as they come
        test.closing.callback(self.stop)
        threading.Thread(target=self.serve, daemon=True).start()

    def stop(self):
        self.socket.close()

    def serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(OSError):
                answer = self.answer(question)
                if answer is not None:
                    self.socket.sendto(answer, client)

    def answer(self, question):
        number = question[:2]
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        name = ".".join(labels).lower()
        kind = struct.unpack("!H", question[at + 1:at + 3])[0]
        asked = question[12:at + 5]
        self.asked.append((name, kind))
        mood = self.mood
        if mood == "silent":
            return None
        if mood == "garbage":
            return number + os.urandom(60)

        def message(code, records):
            return number + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + asked + b"".join(records)

        def record(data):
            return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(data)) + data

        if mood == "servfail":
            return message(2, [])
        if mood == "nxdomain":
            return message(3, [])
        if kind == SRV and name in self.services:
            if mood == "empty":
                return message(0, [])
            if mood == "root":
                return message(0, [record(struct.pack("!HHH", 0, 0, 0) + b"\0")])
            records = [record(struct.pack("!HHH", priority, weight, port) + encoded(target))
                       for priority, weight, port, target in self.services[name]]
            whole = message(0, records)
            return whole[:-5] if mood == "cut" else whole
        if kind == A and name in self.hosts:
            return message(0, [record(socket.inet_aton(self.hosts[name]))])
        return message(0 if name in self.hosts else 3, [])


def own_without_url(test, name, names, settings):
    """A pgmend of the test's own that is told no server, and asks `names` for what it looks up."""
    folder = test.directory / f"asks-{name}"
    folder.mkdir()
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {names.address}\noptions timeout:1 attempts:2\n")
    subject = test.run.pgmend(name, settings=settings)
    del subject.settings["upstream"]["url"]
    script = folder / "pgmend"
    script.write_text("#!/bin/sh\nexec unshare --mount --propagation private sh -c "
                      f"'mount --bind {resolv} /etc/resolv.conf && exec \"$0\" \"$@\"' {subject.binary} \"$@\"\n")
    script.chmod(0o755)
    subject.binary = script
    return test.closing.enter_context(test.run.started(subject))
