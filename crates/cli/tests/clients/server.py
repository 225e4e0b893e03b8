"""What stands behind every address of the lab. Each thing that reaches it is a line of the file `log`.

DNS on 10.0.0.53, UDP and TCP: every name has 1.2.3.4 and 2606:4700::1; `four.*` and `six.*` have one of them.
HTTP on ports 80 and 8080: files of `www`; /where tells the address that was dialled; PUT is answered with the SHA-256 of the body.
HTTPS on port 443: the same, with the certificate of `tls.pem`.
TCP on port 7000: reads to the end, and then answers with the SHA-256 of what it read. UDP on port 5353: echoes.
TCP on ports 7001 to 7003: a host that resets, one that is slow, and one that is full and takes nobody any more.
"""

import hashlib
import http.server
import os
import socket
import socketserver
import ssl
import struct
import threading
import time

RESOLVER = ("10.0.0.53", 53)
RECORDS = {1: socket.inet_aton("1.2.3.4"), 28: socket.inet_pton(socket.AF_INET6, "2606:4700::1")}
log_file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def log(*words):
    os.write(log_file, (" ".join(map(str, words)) + "\n").encode())


def plain(address):
    """Without the form that an IPv4 address has at a socket of both families."""
    return address[0].removeprefix("::ffff:")


def answer(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    at += 5
    (kind,) = struct.unpack("!H", query[at - 4 : at - 2])
    log("dns", ".".join(labels).lower())
    data = RECORDS.get(kind)
    if (labels[0], kind) in [("four", 28), ("six", 1)]:
        data = None
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data if data else b""
    header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if data else 0, 0, 0)
    return header + query[12:at] + record


class DnsUdp(socketserver.BaseRequestHandler):
    def handle(self):
        message, sock = self.request
        sock.sendto(answer(message), self.client_address)


class DnsTcp(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            message = answer(self.rfile.read(*struct.unpack("!H", length)))
            self.wfile.write(struct.pack("!H", len(message)) + message)


class Http(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory="www")

    def log_message(self, *_):
        pass

    def reached(self):
        address = plain(self.connection.getsockname())
        log("http", address, self.headers["Host"], self.path)
        return address

    def do_GET(self):
        address = self.reached()
        if self.path == "/where":
            self.reply(address)
        else:
            super().do_GET()

    def do_PUT(self):
        self.reached()
        self.reply(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest())

    def reply(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Sum(socketserver.StreamRequestHandler):
    def handle(self):
        log("sum", plain(self.connection.getsockname()))
        self.wfile.write(hashlib.sha256(self.rfile.read()).hexdigest().encode())


class Resets(socketserver.StreamRequestHandler):
    """Begins an answer, and resets when it has been read."""

    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"begun")
        self.rfile.readline()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Without the shutdown(2) that the server makes of an end.
        os.close(self.connection.detach())


class Slow(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        for byte in b"slowly":
            time.sleep(0.1)
            self.wfile.write(bytes([byte]))


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        message, sock = self.request
        log("udp", message.decode())
        sock.sendto(message, self.client_address)


class Streams(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class Streams6(Streams):
    """Both families."""

    address_family = socket.AF_INET6


class Secure(Streams6):
    """TLS is spoken by the thread of the connection."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("tls.pem")

    def finish_request(self, request, client_address):
        super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, *_):
        """A client that does not trust the certificate."""


# The queue of one that accepts nobody: what does not fit is not answered at all (listen(2)).
full = socket.create_server(("::", 7003), family=socket.AF_INET6, backlog=0, dualstack_ipv6=True)
waiting = socket.create_connection(("::1", 7003))

servers = [
    socketserver.ThreadingUDPServer(RESOLVER, DnsUdp),
    Streams(RESOLVER, DnsTcp),
    Streams6(("::", 80), Http),
    Streams6(("::", 8080), Http),
    Streams6(("::", 7000), Sum),
    Streams6(("::", 7001), Resets),
    Streams6(("::", 7002), Slow),
    Secure(("::", 443), Http),
    socketserver.ThreadingUDPServer(("203.0.113.5", 5353), Echo),
    socketserver.ThreadingUDPServer(("203.0.113.5", 5354), Echo),
]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
