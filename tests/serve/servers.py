"""A real player in a process of its own, and a page's side of its WebSocket."""

import json
import struct
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from websockets.sync.client import connect

START_S = 110


class Server:
    """``worldsim play`` on a free port."""

    def __init__(self, checkpoint, folder, *options, port=0):
        self.ready = folder / "ready.json"
        self.ready.unlink(missing_ok=True)
        # A shell makes its background jobs, and all that they start, deaf to Ctrl-C.
        hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{hear}; from worldsim.cli import main; main()"
        arguments = ["play", "--model", str(checkpoint), "--no-browser", "--port", str(port), "--json", str(self.ready)]
        self.log = (folder / "log").open("ab+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments, *options], stdout=self.log, stderr=self.log
        )
        until = time.monotonic() + START_S
        while not (self.ready.exists() and self.ready.read_text().endswith("}\n")):
            assert self.process.poll() is None and time.monotonic() < until, self.text()
            time.sleep(0.05)
        self.address = json.loads(self.ready.read_text())["address"]
        self.port = int(self.address.split(":")[2].split("/")[0])
        self.query = self.address.partition("?")[2]

    def text(self):
        self.log.seek(0)
        return self.log.read().decode()

    def connect(self, **options):
        """Return a connected page, past the handshake."""
        return Page(connect(f"ws://127.0.0.1:{self.port}/ws?{self.query}", compression=None, **options))

    def get(self, path, headers=None):
        """Return (status, headers, body) of a page."""
        try:
            answer = urlopen(Request(f"http://127.0.0.1:{self.port}{path}", headers=headers or {}), timeout=60)
        except HTTPError as refusal:
            answer = refusal
        with answer:
            return answer.status, answer.headers, answer.read()

    def stop(self):
        """Press Ctrl-C; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(2)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.log.close()


class Page:
    """What a browser would do, by hand."""

    def __init__(self, socket):
        self.socket = socket
        self.notices = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def frame(self, *, acknowledges=True, timeout=60):
        """Return the header of the next frame; notices in between are kept."""
        while True:
            data = self.socket.recv(timeout=timeout)
            if isinstance(data, str):
                self.notices.append(json.loads(data))
                continue
            (length,) = struct.unpack_from("<I", data)
            header = json.loads(data[4 : 4 + length])
            assert len(data) == 4 + length + sum(header["sizes"])
            if acknowledges:
                self.say(do="seen", frame=header["frame"])
            return header

    def notice(self, kind, timeout=60):
        """Return the next notice of a kind, showing frames in between."""
        while True:
            for i, notice in enumerate(self.notices):
                if notice["kind"] == kind:
                    return self.notices.pop(i)
            data = self.socket.recv(timeout=timeout)
            if isinstance(data, str):
                self.notices.append(json.loads(data))
            else:
                (length,) = struct.unpack_from("<I", data)
                self.say(do="seen", frame=json.loads(data[4 : 4 + length])["frame"])
