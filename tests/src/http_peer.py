"""A server that plugins' requests go to. usage: http_peer.py LOG [CERTIFICATE KEY]; prints its port; each request's head goes to LOG."""
import http.server
import ssl
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def log(self, text):
        with open(sys.argv[1], "a") as log:
            log.write(text + "\n")

    do_CONNECT = do_PUT = lambda self: self.do_GET()

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunks(self, pieces):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

    def do_POST(self):
        if self.headers.get("transfer-encoding") != "chunked":
            self.rfile.read(int(self.headers.get("content-length") or 0))
            return self.do_GET()
        # Answered before it is read. What is not read would be taken for the next request, and reset the connection.
        self.do_GET()
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        while trailer := self.rfile.readline().strip():
            self.log(f"trailer {trailer.decode()}")

    def do_GET(self):
        self.log(f"{self.command} {self.path}\n{self.headers}")
        if self.path == "/redirect":
            self.answer(302, b"", location="http://127.0.0.1:1/elsewhere")
        elif self.path == "/stall":
            time.sleep(60)
        elif self.path == "/slow":
            self.chunks(b"." if i == 0 or time.sleep(0.2) is None else b"" for i in range(300))
        elif self.path == "/huge":
            self.chunks(bytes(1 << 20) for _ in range(1 << 20))
        elif self.path == "/head":
            self.answer(200, b"", **{f"x-{i}": "v" * 4000 for i in range(90)})
        else:
            self.answer(200, b"hello")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
