"""A small Hugging Face Hub on the loopback address, for tests: two HTTP servers that misbehave on request.

The first answers `/ORG/NAME/resolve/REVISION/FILE` as the Hub does: X-Repo-Commit on every answer, a git hash as the
ETag of small files, and for weights (*.safetensors, *.bin) a redirect to the second server, the "CDN", with
X-Linked-ETag (the sha256) and X-Linked-Size. The CDN understands Range. Left out: the Hub's JSON API and Xet storage,
which a file without an X-Xet-Hash header does not use.

    with serve({"org/name": {"config.json": b"{}", "model.safetensors": data}}) as hub:
        folder = fetch(hub, cache, "org/name")          # hub.download in a process of its own
        subprocess.run(command, env=environment(hub.url, cache))
        hub.requests        # ["HEAD /org/name/resolve/main/model.safetensors", "GET /org/... bytes=1000-", ...]
"""

import hashlib
import os
import re
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests import processes

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # of main
OTHER_COMMIT = "f" * 40  # of any other revision
# Downloads each of argv[1], and says as a command would what went wrong; argv[2:]: "local", "pin=", "torch=", "limit=".
RUN = """
import sys, time
from pvt_numpy.system import cli
from pvt_numpy.checkpoints import hub
time.sleep = lambda seconds: None  # huggingface_hub pauses a second before each new attempt
sources, *flags = sys.argv[1:]
for flag, _, value in (flag.partition("=") for flag in flags):
    if flag == "pin":
        hub.PUBLISHED["pvt_tiny"] = hub.PUBLISHED["pvt_tiny"]._replace(sha256=value)
    if flag == "torch":
        hub.find_spec = lambda name: value or None
    if flag == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
def main():
    for source in sources.split():
        try:
            print(hub.download(source, local_files_only="local" in flags))
        except (OSError, ValueError) as error:
            print(type(error).__name__, end=": ", file=sys.stderr)
            cli.complain("test", error)
cli.run(main, "test")
"""


@dataclass
class FakeHub:
    """The Hub's contents, what it was asked, and its faults; a test may change any of them while it runs.

    repositories  repository id, or "ORG/NAME@REVISION" -> file name -> bytes
    refusals      repository id -> (status, X-Error-Code or None), answered to everything
    mute          the Hub accepts connections and never answers
    not_a_hub     answers 200 with a page of its own and none of the Hub's headers, as a hotel's login page does
    cuts          so many of the CDN's next answers end in the middle, the connection closed
    stalls        so many of the CDN's next answers fall silent in the middle, the connection open
    damages       so many of the CDN's next answers have their last bit flipped
    stated        file name -> the sha256 to state instead of the right one; None states none
    seconds       how long the CDN takes to send an answer, piece by piece
    """

    repositories: dict
    refusals: dict = field(default_factory=dict)
    mute: bool = False
    not_a_hub: bool = False
    cuts: int = 0
    stalls: int = 0
    damages: int = 0
    stated: dict = field(default_factory=dict)
    seconds: float = 0.0
    requests: list = field(default_factory=list)
    url: str = ""
    cdn_url: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)  # set while an answer is silent
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(repositories):
    """Runs a FakeHub for the time of a with block."""
    hub = FakeHub(repositories)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, answer)) for answer in (_answer, _answer_cdn)]
    # The same machine under two names: huggingface_hub takes the headers from the last answer of the Hub's own host.
    hub.url, hub.cdn_url = f"http://127.0.0.1:{servers[0].server_port}", f"http://localhost:{servers[1].server_port}"
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()


def environment(url, cache, **more):
    """Environment variables for a process that shall take `url` for the Hub and the folder `cache` for its cache.

    Whatever this machine has set for the real Hub or for proxies is left out; no connection leaves the machine.
    """
    other = [name for name in os.environ if re.match(r"(?i)HF_|HUGGING|TRANSFORMERS_|.*_PROXY$", name)]
    ours = {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    return dict.fromkeys(other) | ours | {"HF_HUB_ETAG_TIMEOUT": "2"} | more  # seconds


def start(server, cache, *arguments, stderr=subprocess.PIPE, code=RUN, **variables):
    """Starts a Python process that runs `code`, by default a download, with `server` (or a URL) for the Hub."""
    url = server if isinstance(server, str) else server.url
    return processes.start("-c", code, *arguments, env=environment(url, cache, **variables), stderr=stderr)


def run(*args, **variables):
    """(stdout, stderr) of a process that downloads."""
    with start(*args, **variables) as process:
        return process.communicate(timeout=60)


def fetch(*args, **variables):
    """The folder of a download that must succeed, and silently."""
    out, err = run(*args, **variables)
    assert err == ""
    return Path(out.strip())


def fail(*args, **variables):
    """The one line of a download that must fail."""
    out, err = run(*args, **variables)
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def _handler(hub, answer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
            answer(hub, self)

        do_HEAD = do_GET

        def log_message(self, *args):
            """Silent."""

    return Handler


def _send(request, status, headers, body=b"", seconds=0.0):
    request.send_response(status)
    for name, value in {"Content-Length": len(body), **headers}.items():
        request.send_header(name, str(value))
    request.end_headers()
    if request.command == "GET":
        piece = 1 + len(body) // (20 if seconds else 1)
        with suppress(ConnectionError):  # whoever asked may have been killed
            for start in range(0, len(body), piece):
                request.wfile.write(body[start : start + piece])
                time.sleep(seconds / 20)


def _answer(hub, request):
    """The Hub: /ORG/NAME/resolve/REVISION/FILE."""
    if hub.mute:
        hub.closing.wait(60)
        request.close_connection = True
        return
    if hub.not_a_hub:
        return _send(request, 200, {"Content-Type": "text/html"}, b"<h1>Welcome to Hotel Pyramid</h1>")
    match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
    repository, revision, name = match.groups() if match else ("", "", "")
    revisions = [id for id in hub.repositories if id.startswith(f"{repository}@")]
    commit = COMMIT if revision in ("main", COMMIT) else OTHER_COMMIT
    if commit == OTHER_COMMIT and repository in hub.repositories:
        if revision != OTHER_COMMIT and f"{repository}@{unquote(revision)}" not in revisions:
            return _send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        repository = revisions[0]
    if repository in hub.refusals or repository not in hub.repositories:
        status, code = hub.refusals.get(repository, (404, "RepoNotFound"))
        return _send(request, status, {"X-Error-Code": code} if code else {})
    common = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    data = hub.repositories[repository].get(name)
    if data is None:
        return _send(request, 404, common | {"X-Error-Code": "EntryNotFound"})
    git_hash = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if not name.endswith((".safetensors", ".bin")):
        return _send(request, 200, common | {"ETag": f'"{git_hash}"'}, data)
    sha256 = hub.stated.get(name, hashlib.sha256(data).hexdigest())
    linked = {"X-Linked-ETag": f'"{sha256}"'} if sha256 else {}
    size = {"X-Linked-Size": len(data), "ETag": f'"{git_hash}"'}
    return _send(request, 302, common | linked | size | {"Location": f"{hub.cdn_url}/{repository}/{name}"})


def _answer_cdn(hub, request):
    """The CDN: /ORG/NAME/FILE, with ranges and with the faults that a long transfer meets."""
    repository, _, name = request.path[1:].rpartition("/")
    data = hub.repositories[repository][name]
    if hub.damages:
        hub.damages -= 1
        data = data[:-1] + bytes([data[-1] ^ 1])
    span = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    start = int(span[1]) if span else 0
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if span else {}
    body, whole = data[start:], not hub.cuts and not hub.stalls
    _send(request, 206 if span else 200, headers | {"Content-Length": len(body)},
          body if whole else body[: len(body) // 2], hub.seconds)  # fmt: skip
    if whole:
        return
    request.wfile.flush()
    request.close_connection = True
    if hub.cuts:
        hub.cuts -= 1
    else:
        hub.stalls -= 1
        hub.stalled.set()
        hub.closing.wait(60)
