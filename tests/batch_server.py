"""A loopback provider with files and batches beside completions; batches end when a test says so."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fault_server import Fault, FaultServer, _response


@dataclass
class BatchServer(FaultServer):
    """`files` and `batches` by id. While `holding`, batches stay in progress; then each ends as `ends` says, completed
    if it says nothing. Lines whose seed is in `line_faults` fail with that status. `rewrite` has the last word on an
    output file, as often as it has entries. `absent`: it has no batches."""

    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    holding: bool = False
    ends: list[str] = field(default_factory=list)
    line_faults: dict[int, int] = field(default_factory=dict)
    rewrite: list[Callable[[bytes], bytes]] = field(default_factory=list)
    absent: bool = False

    async def _reply(self, request: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        method, target, _ = request.split(" ", 2)
        path = target.partition("?")[0].removeprefix("/v1")
        if self.absent and path == "/batches":
            writer.write(_response(Fault(404, {"error": {"message": "no such path"}})))
            return True
        answer = self._answer(method, path, body)
        if answer is None:
            return await super()._reply(request, headers, body, writer)
        writer.write(_response(Fault(raw=answer) if isinstance(answer, bytes) else Fault(body=answer)))
        await writer.drain()
        return True

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        if path == "/files":
            found = re.search(rb'filename="[^"]*".*?\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
            return {"id": self._file(found[1] if found else b""), "object": "file"}
        if content := re.fullmatch(r"/files/(\S+)/content", path):
            return self.files[content[1]]
        if path == "/batches" and method == "POST":
            number = f"batch-{len(self.batches)}"
            made = json.loads(body) | {"id": number, "status": "in_progress", "created_at": time.time()}
            self.batches[number] = made
            return made
        if path == "/batches":
            return {"object": "list", "data": list(self.batches.values()), "has_more": False}
        if one := re.fullmatch(r"/batches/(\S+)", path):
            return self._looked_at(self.batches[one[1]])
        return None

    def _file(self, data: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def _looked_at(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self.holding or batch["status"] != "in_progress":
            return batch
        batch["status"] = self.ends.pop(0) if self.ends else "completed"
        if batch["status"] == "completed":
            lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
            answers = [self._line(line) for line in lines]
            told = "\n".join(json.dumps(line, ensure_ascii=False) for line in answers).encode()
            batch["output_file_id"] = self._file(self.rewrite.pop(0)(told) if self.rewrite else told)
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": [{"message": "the file is no good"}]}
        return batch

    def _line(self, line: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(line["body"])
        status = self.line_faults.pop(line["body"]["seed"], 200)
        body = self.respond(line["body"]) if status == 200 else {"error": {"message": f"told to fail with {status}"}}
        return {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}
