"""OHIF, the viewer: its prebuilt pages from npm, and an archive's DICOMweb beside them under one origin."""

from __future__ import annotations

import base64
import http.client
import json
import mimetypes
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.integration.conftest import PASSWORD, USER, Orthanc

#: Pinned: screenshots are judged by its layout.
PACKAGE = "@ohif/app@3.13.2"

CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "showErrorDetails": "always",
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "dicomweb",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "dicomweb",
            "configuration": {
                "friendlyName": "archive",
                "name": "archive",
                "wadoUriRoot": "/wado",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "dicomUploadEnabled": False,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
            },
        }
    ],
}


def fetch(directory: Path) -> Path:
    """Fetch OHIF from npm; returns the directory of its pages."""
    npm = shutil.which("npm")
    assert npm, "npm is needed (Debian package npm)"
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=directory)
    assert done.returncode == 0, done.stderr
    with tarfile.open(directory / done.stdout.split()[-1]) as archive:
        archive.extractall(directory, filter="data")
    return directory / "package" / "dist"


@contextmanager
def served(pages: Path, orthanc: Orthanc) -> Iterator[str]:
    """Serve the viewer and the archive; yields the base URL."""
    where = urlsplit(orthanc.http)
    credentials = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = f"window.config = {json.dumps(CONFIG)};".encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/dicom-web"):
                self._forward()
            elif path == "/app-config.js":
                self._answer(200, config, "text/javascript")
            else:
                file = (pages / path.lstrip("/")).resolve()
                if not (file.is_relative_to(pages) and file.is_file()):
                    file = pages / "index.html"  # the viewer's own routes
                self._answer(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

        def _forward(self) -> None:
            headers = {"Authorization": credentials, "Host": self.headers["Host"]}
            if accept := self.headers["Accept"]:
                headers["Accept"] = accept
            connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
            try:
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            self._answer(answer.status, body, answer.headers["Content-Type"] or "application/octet-stream")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
