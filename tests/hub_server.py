"""A Hub on loopback: the part of the Hugging Face Hub's API that a push and a load really call, files kept in memory.

    with HubServer() as hub:
        ... a process with HF_ENDPOINT=hub.url and HF_TOKEN=hub.token ...
        hub.repos["ada/data"].files()

`hub.fail("commit", 500, times=2)` makes the next two calls of that kind fail; the status CUT breaks the connection off
instead, and LOST does what was asked but breaks off before the answer. `hub.calls` lists what was asked, in order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

CUT, LOST = -1, -2
LFS_SUFFIX = (".parquet", ".safetensors")


@dataclass
class Commit:
    """A commit: its id, message, and the whole tree, path -> content."""

    oid: str
    message: str
    tree: dict[str, bytes]


@dataclass
class Repo:
    """A repository of a data set or a model: branches of commits, oldest first."""

    private: bool
    branches: dict[str, list[Commit]]

    def files(self, branch: str = "main") -> dict[str, bytes]:
        """The tree at the head of a branch, but for the file that the Hub itself puts into each repository."""
        tree = self.branches[branch][-1].tree
        return {path: content for path, content in tree.items() if path != ".gitattributes"}

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch's name or a commit's id stands for."""
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = (commit for branch in self.branches.values() for commit in branch)
        return next((commit for commit in commits if commit.oid == revision), None)


@dataclass
class Answer:
    """What a route says: a status, JSON or bytes, headers."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def refused(status: int, message: str, code: str = "") -> Answer:
    return Answer(status, {"error": message}, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}))


class HubServer:
    """The server; a context manager that serves while it is open."""

    token = "hf_thisTokenMustNeverBePrinted"

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self._faults: dict[str, list[int]] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, kind: str, status: int, times: int = 1) -> None:
        """The next calls of this kind (a name of ROUTES) fail."""
        self._faults[kind] = [status] * times

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repo:
        """A repository that is there already."""
        first = Commit(_oid("first", name), "initial commit", {".gitattributes": b"*.parquet filter=lfs\n", **files})
        self.repos[name] = Repo(private, {"main": [first]})
        return self.repos[name]

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        """Finds the route and runs it, faults and a missing token first. A CUT or LOST comes back as the status."""
        path, query = urlsplit(url).path, urlsplit(url).query
        kind, route, match = next(
            (name, route, found)
            for name, verbs, pattern, route in ROUTES
            if method in verbs.split() and (found := re.fullmatch(pattern, path))
        )
        with self._lock:
            self.calls.append(kind)
            fault = self._faults[kind].pop() if self._faults.get(kind) else 0
            if kind != "blob" and headers.get("Authorization") != f"Bearer {self.token}":
                return refused(401, "Invalid username or password.")
            if fault > 0:
                return refused(fault, f"injected {fault}")
            if fault == CUT:
                return Answer(CUT)
            recursive = "yes" if "recursive=true" in query.lower() else ""
            done = route(self, match.groupdict() | {"recursive": recursive}, body)
            return Answer(LOST) if fault == LOST else done


def _create(hub: HubServer, _: dict[str, str], body: bytes) -> Answer:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    url = {"url": f"{hub.url}/{'datasets/' * (asked.get('type') == 'dataset')}{name}"}
    if name in hub.repos:
        return Answer(409, {"error": "You already created this dataset repo", **url})
    hub.add(name, {}, private=asked.get("visibility") == "private" or asked.get("private") is True)
    return Answer(200, url)


def _branch(hub: HubServer, at: dict[str, str], _: bytes) -> Answer:
    branches = hub.repos[at["repo"]].branches
    if unquote(at["revision"]) in branches:
        return refused(409, "Reference already exists")
    branches[unquote(at["revision"])] = list(branches["main"])
    return Answer(200)


def _info(hub: HubServer, at: dict[str, str], _: bytes) -> Answer:
    repo = hub.repos.get(at["repo"])
    commit = repo.at(unquote(at.get("revision") or "main")) if repo else None
    if repo is None or commit is None:
        return refused(404, "Repository not found", "RepoNotFound")
    siblings = [{"rfilename": path} for path in sorted(commit.tree)]
    about = {"_id": "0", "id": at["repo"], "sha": commit.oid, "private": repo.private, "siblings": siblings}
    return Answer(200, about | {"tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False})


def _tree(hub: HubServer, at: dict[str, str], _: bytes) -> Answer:
    commit = hub.repos[at["repo"]].at(unquote(at["revision"]))
    if commit is None:
        return refused(404, "Revision not found", "RevisionNotFound")
    folder = unquote(at.get("path") or "").strip("/")
    inside = {path: blob for path, blob in commit.tree.items() if not folder or path.startswith(f"{folder}/")}
    if at["recursive"]:
        return Answer(200, [_entry(path, blob) for path, blob in sorted(inside.items())])
    depth = folder.count("/") + 2 if folder else 1
    folders = {"/".join(path.split("/")[:depth]) for path in inside if path.count("/") >= depth}
    here = [_entry(path, blob) for path, blob in sorted(inside.items()) if path.count("/") < depth]
    return Answer(
        200, here + [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in sorted(folders)]
    )


def _entry(path: str, blob: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": git_oid(blob), "size": len(blob), "path": path}
    if path.endswith(LFS_SUFFIX):
        entry["lfs"] = {"oid": hashlib.sha256(blob).hexdigest(), "size": len(blob), "pointerSize": 130}
    return entry


def _paths(hub: HubServer, at: dict[str, str], body: bytes) -> Answer:
    tree = hub.repos[at["repo"]].at(unquote(at["revision"])).tree
    return Answer(200, [_entry(path, tree[path]) for path in json.loads(body)["paths"] if path in tree])


def _preupload(hub: HubServer, at: dict[str, str], body: bytes) -> Answer:
    tree = hub.repos[at["repo"]].at(unquote(at["revision"])).tree
    files = [{"path": f["path"], "shouldIgnore": False, **_mode(tree, f["path"])} for f in json.loads(body)["files"]]
    return Answer(200, {"files": files})


def _mode(tree: dict[str, bytes], path: str) -> dict[str, str]:
    large, there = path.endswith(LFS_SUFFIX), tree.get(path)
    oid = {} if there is None else {"oid": hashlib.sha256(there).hexdigest() if large else git_oid(there)}
    return {"uploadMode": "lfs" if large else "regular", **oid}


def _batch(hub: HubServer, _: dict[str, str], body: bytes) -> Answer:
    objects = [
        {"oid": o["oid"], "size": o["size"]}
        | (
            {}
            if o["oid"] in hub.blobs
            else {"actions": {"upload": {"href": f"{hub.url}/blob/{o['oid']}", "header": {}}}}
        )
        for o in json.loads(body)["objects"]
    ]
    return Answer(200, {"transfer": "basic", "objects": objects})


def _blob(hub: HubServer, at: dict[str, str], body: bytes) -> Answer:
    if hashlib.sha256(body).hexdigest() != at["oid"]:
        return refused(400, "content does not match its hash")
    hub.blobs[at["oid"]] = body
    return Answer(200)


def _commit(hub: HubServer, at: dict[str, str], body: bytes) -> Answer:
    lines = [json.loads(line) for line in body.splitlines()]
    branch = hub.repos[at["repo"]].branches[unquote(at["revision"])]
    header = lines[0]["value"]
    if header.get("parentCommit") not in (None, branch[-1].oid):
        return refused(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(branch[-1].tree)
    for line in lines[1:]:
        if refusal := _apply(hub, tree, line["key"], line["value"]):
            return refusal
    branch.append(Commit(_oid(branch[-1].oid, str(sorted(tree))), header["summary"], tree))
    url = f"{hub.url}/{'datasets/' * (at['kind'] == 'datasets')}{at['repo']}/commit/{branch[-1].oid}"
    return Answer(200, {"success": True, "commitUrl": url, "commitOid": branch[-1].oid})


def _apply(hub: HubServer, tree: dict[str, bytes], key: str, value: dict[str, Any]) -> Answer | None:
    path = value["path"]
    if key == "file":
        tree[path] = base64.b64decode(value["content"])
    elif key == "lfsFile" and value["oid"] in hub.blobs:
        tree[path] = hub.blobs[value["oid"]]
    elif key == "deletedFile" and path in tree:
        del tree[path]
    else:
        return refused(400, f"{key} {path}: A file with this name doesn't exist")
    return None


def _resolve(hub: HubServer, at: dict[str, str], _: bytes) -> Answer:
    repo = hub.repos.get(at["repo"])
    commit = repo.at(unquote(at["revision"])) if repo else None
    blob = commit.tree.get(unquote(at["path"])) if commit else None
    if commit is None or blob is None:
        return refused(404, "Entry not found", "EntryNotFound")
    return Answer(200, blob, {"ETag": f'"{git_oid(blob)}"', "X-Repo-Commit": commit.oid})


def _yaml(_hub: HubServer, _: dict[str, str], _body: bytes) -> Answer:
    return Answer(200, {"errors": [], "warnings": []})


def _nothing(_hub: HubServer, _: dict[str, str], _body: bytes) -> Answer:
    return refused(404, "not served here")


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_AT = r"(?P<revision>[^/]+)"
_API = rf"/api/(?P<kind>datasets|models)/{_REPO}"
_HERE = rf"/(?:datasets/)?{_REPO}"
ROUTES: list[tuple[str, str, str, Callable[[HubServer, dict[str, str], bytes], Answer]]] = [
    ("create", "POST", r"/api/repos/create", _create),
    ("validate", "POST", r"/api/validate-yaml", _yaml),
    ("branch", "POST", rf"{_API}/branch/{_AT}", _branch),
    ("info", "GET", rf"{_API}(/revision/{_AT})?", _info),
    ("tree", "GET", rf"{_API}/tree/{_AT}(?P<path>/.*)?", _tree),
    ("paths", "POST", rf"{_API}/paths-info/{_AT}", _paths),
    ("preupload", "POST", rf"{_API}/preupload/{_AT}", _preupload),
    ("batch", "POST", rf"{_HERE}\.git/info/lfs/objects/batch", _batch),
    ("blob", "PUT", r"/blob/(?P<oid>[0-9a-f]{64})", _blob),
    ("commit", "POST", rf"{_API}/commit/{_AT}", _commit),
    ("resolve", "GET HEAD", rf"{_HERE}/resolve/{_AT}/(?P<path>.+)", _resolve),
    ("other", "GET HEAD POST PUT", r".*", _nothing),
]


def git_oid(blob: bytes) -> str:
    """The id that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\x00" % len(blob) + blob).hexdigest()


def _oid(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:40]


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            answer = hub.answer(self.command, self.path, self.headers, self._body())
            if answer.status in (CUT, LOST):
                self.close_connection = True
                self.connection.close()
                return
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Silence: the tests read hub.calls."""

    return Handler
