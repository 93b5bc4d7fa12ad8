"""The Hugging Face Hub's HTTP interface in memory, as far as publishing and loading a run need it.

Its answers are those that `huggingface_hub` reads: repositories, branches, upload of small files in
the commit and of large ones by LFS, download with ranges. Faults are set by request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_" + 34 * "x"
LFS_BYTES = 4_000  # files of this size go by LFS
ERROR_CODES = {"repo": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    branches: dict[str, list[tuple[str, dict[str, bytes]]]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    ignored: tuple[str, ...] = ()  # names that its .gitignore hides

    def add(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit that holds these files and no others; returns its name."""
        commits = self.branches.setdefault(branch, [])
        seed = f"{branch} {len(commits)} {sorted(files)} {time.perf_counter_ns()}"
        commits.append((hashlib.sha1(seed.encode()).hexdigest(), dict(files)))
        return commits[-1][0]

    def find(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision in self.branches:
            return self.branches[revision][-1] if self.branches[revision] else ("", {})
        commits = [commit for branch in self.branches.values() for commit in branch]
        return next((commit for commit in commits if commit[0] == revision), None)

    def files(self, branch: str = "main") -> dict[str, bytes]:
        return (self.find(branch) or ("", {}))[1]


class FakeHub:
    """A hub at `url`, with repositories by `owner/name`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: list[tuple[str, int | str]] = []
        self.on_request: Callable[[str], None] = lambda line: None
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, files: dict[str, bytes] | None = None, **options: Any) -> Repository:
        self.repositories[name] = Repository(branches={"main": []}, **options)
        if files is not None:
            self.repositories[name].add(files)
        return self.repositories[name]

    def fail(self, request: str, how: int | str) -> None:
        """Fail requests by `METHOD /path`: with a status, `close`, `cut`, `cut once` or `slow`."""
        self.faults.append((request, how))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    # -- answers ----------------------------------------------------------------------------------

    def answer(self, status: int, record: Any = None, code: str = "", **headers: str) -> None:
        self.send_bytes(status, json.dumps(record).encode(), {"X-Error-Code": code, **headers})

    def send_bytes(self, status: int, content: bytes, headers: dict[str, str], cut=False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    # -- requests ---------------------------------------------------------------------------------

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self._read_chunks()
        line = f"{self.command} {path}"
        self.hub.requests.append((self.command, path))
        self.hub.on_request(line)
        self.cut = False
        for fault in list(self.hub.faults):
            pattern, how = fault
            if not re.search(pattern, line):
                continue
            if isinstance(how, int):
                return self.answer(how, {"error": "fault"})
            if how == "slow":
                time.sleep(1)
            elif how == "close":
                self.close_connection = True
                return self.connection.close()
            else:
                self.cut = True
                if how == "cut once":
                    self.hub.faults.remove(fault)
        for pattern, method in ROUTES:
            if match := re.fullmatch(pattern, line):
                return getattr(self, method)(*match.groups())
        return self.answer(404, {"error": f"no route: {line}"})

    def _read_chunks(self) -> bytes:
        content = b""
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            while size := int(self.rfile.readline() or b"0", 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return content

    @property
    def is_owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def find(self, name: str, revision: str = "main") -> Any:
        """Return a repository, its commit and its files; None after an answer with an error."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.is_owner):
            status = 404 if self.is_owner else 401
            return self.answer(status, {"error": "Repository not found"}, ERROR_CODES["repo"])
        found = repository.find(revision)
        if found is None:
            return self.answer(404, {"error": "no revision"}, ERROR_CODES["revision"])
        return repository, *found

    def create(self) -> None:
        if not self.is_owner:
            return self.answer(401, {"error": "Invalid credentials"})
        record = json.loads(self.body)
        name = f"{record['organization']}/{record['name']}"
        url = f"{self.hub.url}/{name}"
        if record["organization"] != "me":
            return self.answer(403, {"error": "no right to create a model there"})
        if name in self.hub.repositories:
            return self.answer(409, {"error": "You already created it", "url": url})
        self.hub.add(name, private=record.get("visibility") == "private")
        return self.answer(200, {"url": url, "name": name, "id": name})

    def info(self, name: str, revision: str | None = None) -> None:
        if (found := self.find(name, revision or "main")) is None:
            return
        repository, commit, files = found
        card = files.get("README.md", b"").decode(errors="replace")
        front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
        data = yaml.safe_load(front[1]) if front else {}
        record = {
            "_id": "1", "id": name, "modelId": name, "sha": commit or 40 * "0",
            "private": repository.private, "gated": "manual" if repository.gated else False,
            "siblings": [{"rfilename": file} for file in files], "tags": [], "downloads": 0,
            "library_name": data.get("library_name"), "cardData": data,
        }  # fmt: skip
        self.answer(200, record)

    def tree(self, name: str, revision: str) -> None:
        if (found := self.find(name, revision)) is None:
            return
        entries = []
        for path, content in found[2].items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": _sha(content)}
            if len(content) >= LFS_BYTES:
                oid = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self.answer(200, entries)

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        front = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        record = yaml.safe_load(front[1]) if front else None
        if not isinstance(record, dict) or "library_name" not in record:
            return self.answer(400, {"errors": [{"message": "no metadata"}], "warnings": []})
        return self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if (found := self.find(name, revision)) is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= LFS_BYTES else "regular",
                "shouldIgnore": file["path"] in found[0].ignored,
            }
            for file in json.loads(self.body)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, name: str) -> None:
        if self.find(name) is None:
            return
        objects = [
            {**entry, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}}}
            for entry in json.loads(self.body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.answer(400, {"error": "wrong hash"})
        self.hub.lfs[oid] = self.body
        return self.answer(200, {})

    def branch(self, name: str, branch: str) -> None:
        if (found := self.find(name)) is None:
            return None
        if branch in found[0].branches:
            return self.answer(409, {"error": "exists"})
        found[0].branches[branch] = list(found[0].branches["main"])
        return self.answer(200, {})

    def commit(self, name: str, revision: str) -> None:
        if (found := self.find(name, revision)) is None:
            return None
        repository, parent, files = found[0], found[1], dict(found[2])
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                if value.get("parentCommit") not in (None, parent):
                    return self.answer(412, {"error": "A commit has happened since."})
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repository.add(files, revision)
        url = f"{self.hub.url}/{name}/commit/{oid}"
        return self.answer(200, {"success": True, "commitUrl": url, "commitOid": oid})

    def resolve(self, name: str, revision: str, file: str) -> None:
        if (found := self.find(name, revision)) is None:
            return None
        repository, commit, files = found
        if repository.gated and not self.is_owner:
            return self.answer(403, {"error": "gated"}, "GatedRepo")
        if file not in files:
            return self.answer(404, {"error": "no file"}, ERROR_CODES["entry"])
        content, status = files[file], 200
        headers = {"ETag": f'"{_sha(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, whole = int(match[1]), len(content)
            content, status = content[start:], 206
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        return self.send_bytes(status, content, headers, cut=self.cut)


def _sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"GET /api/models/{NAME}", "info"),
    (rf"GET /api/models/{NAME}/revision/(.+)", "info"),
    (rf"GET /api/models/{NAME}/tree/([^/]+)/?", "tree"),
    (rf"POST /api/models/{NAME}/preupload/(.+)", "preupload"),
    (rf"POST /api/models/{NAME}/branch/(.+)", "branch"),
    (rf"POST /api/models/{NAME}/commit/(.+)", "commit"),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /lfs/(\w+)", "put"),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", "resolve"),
]
