"""A web server on this machine that misbehaves as others do."""

import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .serving import running

BLOCK = 1 << 16


class Site(ThreadingHTTPServer):
    """Serves `files`, by path.

    Attributes:
        faults: what happens to the first GET requests of a path, in turn: a status to answer with, "cut" (the connection ends in
            the middle), "stall" (nothing comes for two seconds).
        endless: paths that send zeros up to 256 MB -> the length that they announce, None for none.
        got: how often each path was asked for; sent: bytes of `endless`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.endless: dict[str, int | None] = {}
        self.got = Counter[str]()
        self.sent = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error here."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path, site = self.path, self.server
        site.got[path] += 1
        fault = site.faults[path].pop(0) if site.faults.get(path) else None
        if isinstance(fault, int) or (path not in site.files and path not in site.endless):
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        if fault == "stall":
            time.sleep(2)
        self.send_response(200)
        if path in site.endless:
            if announced := site.endless[path]:
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            for _ in range(4096):
                self.wfile.write(bytes(BLOCK))
                site.sent += BLOCK
            return
        data = site.files[path]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

    def do_HEAD(self) -> None:
        self.send_error(405)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[tuple[str, Site]]:
    """(the URL of a site, the site), on a free port. certificate: PEM with its key, for https."""
    site = Site()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        site.socket = context.wrap_socket(site.socket, server_side=True)
    with running(site):
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{site.server_port}", site


def self_signed(path: Path) -> Path:
    """Writes a certificate for 127.0.0.1 with its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "psal's tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
