"""A PLC directory: takes signed operations, checks them as the real one does, and serves documents and logs."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from atdata.atproto.plc import PlcState, operation_cid, to_did_document, verify_audit_log
from atdata.errors import AtdataError
from atdata.testing.http import Answer, Request


class PlcDirectory:
    """The directory's state and its HTTP interface (https://web.plc.directory/api/redoc)."""

    def __init__(self) -> None:
        self._logs: dict[str, list[dict[str, Any]]] = {}
        self._states: dict[str, PlcState] = {}
        self._lock = threading.Lock()

    def submit(self, did: str, operation: dict[str, Any]) -> None:
        """Take a signed operation.

        Raises:
            AtdataError: it does not follow from the log.
        """
        with self._lock:
            log = self._logs.get(did, [])
            moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            cid = str(operation_cid(operation))
            entry = {"did": did, "operation": operation, "cid": cid, "nullified": False, "createdAt": moment}
            follows = operation.get("prev")
            position = next((i for i, known in enumerate(log) if known["cid"] == follows), len(log) - 1)
            kept = [{**known, "nullified": known["nullified"] or i > position} for i, known in enumerate(log)]
            self._states[did] = verify_audit_log(did, [*kept, entry])
            self._logs[did] = [*kept, entry]

    def newest(self, did: str) -> str:
        """The CID of the newest operation of a DID: what another one follows."""
        return str(self._logs[did][-1]["cid"])

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        did, _, what = request.path.strip("/").partition("/")
        if request.method == "POST":
            try:
                self.submit(did, request.json())
            except AtdataError as error:
                return Answer.json({"message": error.what}, 400)
            return Answer(200, b"OK", {"content-type": "text/plain"})
        log = self._logs.get(did)
        if log is None:
            return Answer.json({"message": f"DID not registered: {did}"}, 404)
        if what == "log/audit":
            return Answer.json(log)
        if what == "log":
            return Answer.json([entry["operation"] for entry in log if not entry["nullified"]])
        state = self._states[did]
        if state.current.tombstoned:
            return Answer.json({"message": f"DID not available: {did}"}, 410)
        return Answer.json(to_did_document(state))
