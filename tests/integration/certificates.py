"""Authorities, certificates and revocation lists, made by openssl for one test; a relay in the middle that ends TLS."""

import contextlib
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import threading

from harness import check, poll


def openssl(*arguments, directory, data=None):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=directory, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f"openssl {arguments[0]}: {done.stdout}")
    return done.stdout


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory, name="authority"):
        self.directory = pathlib.Path(directory) / f"ca-{name}"
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.certificate = self.directory / "ca.crt"
        (self.directory / "index.txt").write_text("")
        (self.directory / "serial").write_text("1000\n")
        (self.directory / "crlnumber").write_text("01\n")
        (self.directory / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\ncrlnumber=crlnumber\nnew_certs_dir=.\n"
            "certificate=ca.crt\nprivate_key=ca.key\ndefault_md=sha256\ndefault_days=2\ndefault_crl_days=2\n"
            "policy=p\ncopy_extensions=copy\nunique_subject=no\n[p]\ncommonName=supplied\n"
            "organizationName=optional\n")
        openssl("req", "-x509", *self.key("ca"), "-days", "2", "-subj", f"/CN={name}", "-out", "ca.crt",
                directory=self.directory)

    @staticmethod
    def key(name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")

    def issue(self, file, subject, names="", owner=None):
        """Certificate and key; `names` are subjectAltName's."""
        extra = ("-addext", f"subjectAltName={names}") if names else ()
        openssl("req", "-new", *self.key(file), "-subj", subject, *extra, "-out", f"{file}.csr",
                directory=self.directory)
        openssl("ca", "-batch", "-config", "ca.cnf", "-in", f"{file}.csr", "-out", f"{file}.crt", "-notext",
                directory=self.directory)
        certificate, key = self.directory / f"{file}.crt", self.directory / f"{file}.key"
        key.chmod(0o600)
        if owner:
            shutil.chown(key, owner, owner)
        return certificate, key

    def server(self, file="server", names="DNS:localhost,IP:127.0.0.1", owner=None):
        return self.issue(file, f"/CN={file}", names, owner)

    def revocations(self, *files):
        """A revocation list with these certificates."""
        for file in files:
            openssl("ca", "-config", "ca.cnf", "-revoke", f"{file}.crt", directory=self.directory)
        openssl("ca", "-config", "ca.cnf", "-gencrl", "-out", "ca.crl", directory=self.directory)
        return self.directory / "ca.crl"


@contextlib.contextmanager
def server_side(t, hba=None, **settings):
    """PostgreSQL with other settings and rules for the time of the block."""
    rules = t.postgres.data / "pg_hba.conf"
    kept = rules.read_text()
    if hba is not None:
        rules.write_text("local all all trust\n" + hba)
    for name, value in settings.items():
        t.admin(f"ALTER SYSTEM SET {name} = '{value}'")
    t.admin("SELECT pg_reload_conf()")
    poll(lambda: all(t.admin(f"SHOW {name}") == [(str(value),)] for name, value in settings.items()), "settings")
    if hba is not None:
        poll(lambda: t.admin("SELECT count(*) FROM pg_hba_file_rules") == [(1 + len(hba.strip().splitlines()),)],
             "rules")
    try:
        yield
    finally:
        rules.write_text(kept)
        t.admin("ALTER SYSTEM RESET ALL")
        t.admin("SELECT pg_reload_conf()")
        poll(lambda: t.admin("SHOW ssl") == [("off",)], "settings are back")


def server_tls(t, authority, hba=None, certificate=None, **more):
    """PostgreSQL with TLS and a certificate of this authority, or with the given one and its key."""
    certificate, key = certificate or authority.server("postgres", owner="postgres" if t.postgres.owner else None)
    return server_side(t, hba, ssl_cert_file=certificate, ssl_key_file=key, ssl="on", **more)


class Middle:
    """A man in the middle: it answers SSLRequest, ends TLS with a certificate of its own and begins it anew behind."""

    def __init__(self, t, certificate, key, target):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.target = target
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listening.getsockname()
        self.seen = bytearray()
        t.closing.callback(self.listening.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError, ssl.SSLError):
            server = socket.create_connection(self.target)
            server.sendall(client.recv(8, socket.MSG_WAITALL))
            client.sendall(server.recv(1))
            behind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            behind.check_hostname, behind.verify_mode = False, ssl.CERT_NONE
            client = self.context.wrap_socket(client, server_side=True)
            server = behind.wrap_socket(server)
            self.carry(client, server)

    def carry(self, client, server):
        """Both ways in one thread: OpenSSL's connections are not to be shared."""
        others = {client: server, server: client}
        with client, server:
            while True:
                ready = [each for each in others if each.pending()] or select.select(list(others), [], [])[0]
                for source in ready:
                    # A session ticket makes a socket readable and has no data.
                    source.setblocking(False)
                    try:
                        data = source.recv(1 << 16)
                    except ssl.SSLWantReadError:
                        continue
                    finally:
                        source.setblocking(True)
                    if not data:
                        return
                    self.seen += data
                    others[source].sendall(data)
