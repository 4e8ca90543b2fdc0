"""As much of the MySQL and PostgreSQL protocols as an outside clock needs: a login without a password, and plain statements."""

import socket
import struct


class Wire:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def read(self, count):
        data = self.stream.read(count)
        if len(data) < count:
            raise SystemExit("the server closed the connection")
        return data


class MySqlWire(Wire):
    """MySQL client/server protocol, "Connection Phase" and "Text Protocol"."""

    # CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH
    CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000

    def __init__(self, port):
        super().__init__(port)
        self.packet()  # the greeting
        self.send(1, struct.pack("<IIB23x", self.CAPABILITIES, 1 << 24, 45) + b"root\0" + b"\0" + b"caching_sha2_password\0")
        answer = self.packet()
        while answer[0] not in (0, 0xFF):
            answer = self.packet()
        self.check(answer)

    def packet(self):
        length = int.from_bytes(self.read(4)[:3], "little")
        return self.read(length)

    def send(self, number, payload):
        self.socket.sendall(len(payload).to_bytes(3, "little") + bytes([number]) + payload)

    def check(self, answer):
        if answer[0] == 0xFF:
            raise SystemExit(f"MySQL: {answer[9:].decode(errors='replace')}")

    def execute(self, statement):
        """A statement that answers no rows."""
        self.send(0, b"\x03" + statement.encode())
        self.check(self.packet())


class PostgresWire(Wire):
    """PostgreSQL frontend/backend protocol 3.0, "Simple Query" and "Asynchronous Operations"."""

    def __init__(self, port, database):
        super().__init__(port)
        settings = b"user\0postgres\0database\0" + database.encode() + b"\0\0"
        self.socket.sendall(struct.pack("!II", len(settings) + 8, 196608) + settings)
        self.until_ready()

    def message(self):
        kind, length = struct.unpack("!cI", self.read(5))
        return kind, self.read(length - 4)

    def until_ready(self):
        while True:
            kind, body = self.message()
            if kind == b"E":
                raise SystemExit(f"PostgreSQL: {body.decode(errors='replace')}")
            if kind == b"Z":
                return

    def execute(self, statement):
        self.socket.sendall(b"Q" + struct.pack("!I", len(statement) + 5) + statement.encode() + b"\0")
        self.until_ready()

    def notification(self):
        """Waits for the next NOTIFY and returns its payload."""
        while True:
            kind, body = self.message()
            if kind == b"A":
                return body[4:].split(b"\0")[1].decode()
