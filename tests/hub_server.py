"""A Hugging Face Hub in a thread, on loopback, with as much of it as huggingface_hub's transfers use.

`olah` (PyPI, 0.5.4) mirrors the real Hub and serves local git repositories too, but by its source those come
without byte ranges (so no resume), and nothing can be pushed to it.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class HubServer(ThreadingHTTPServer):
    """`with HubServer() as hub:` clients use HF_ENDPOINT=hub.url.

    Attributes:
        repos: repo id -> list of (commit hash, {path: bytes}), oldest first.
        requests: (method, path, Range header or None) of every request so far.
        cut_after: path -> bytes after which the connection breaks, once.
        writable: False makes every upload fail with 403.
        private: repo id -> the token that its readers must send.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos, self.requests, self.cut_after, self.writable, self.private = {}, [], {}, True, {}
        self.objects = {}  # uploaded large files, by sha256

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def commit(self, repo_id, files):
        """Add a commit with these files (path -> bytes) changed; returns its hash."""
        commits = self.repos.setdefault(repo_id, [])
        tree = {**(commits[-1][1] if commits else {}), **files}
        oid = hashlib.sha1(repr((len(commits), sorted(tree))).encode()).hexdigest()
        commits.append((oid, tree))
        return oid

    def find(self, repo_id, revision):
        """(commit hash, files) or None."""
        commits = self.repos[repo_id]
        if revision == "main":
            return commits[-1] if commits else ("0" * 40, {})
        return next((commit for commit in commits if commit[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def _note(self):
        self.route = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append((self.command, self.route, self.headers.get("Range")))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value, status=200, **headers):
        self._send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _missing(self, code):
        self._json({"error": code}, 401 if code == "RepoNotFound" else 404, X_Error_Code=code)

    def _readable(self, repo_id):
        token = self.server.private.get(repo_id)
        sent = self.headers.get("Authorization")
        return repo_id in self.server.repos and (token is None or sent == f"Bearer {token}")

    # Download

    def do_HEAD(self):
        self._note()
        self._resolve()

    def do_GET(self):
        self._note()
        parts = self.route.split("/")
        if parts[:2] == ["api", "models"]:
            return self._model_info(parts)
        return self._resolve()

    def _model_info(self, parts):
        repo_id = "/".join(parts[2:4])
        if not self._readable(repo_id):
            return self._missing("RepoNotFound")
        commit = self.server.find(repo_id, parts[5] if len(parts) > 5 else "main")
        if commit is None:
            return self._missing("RevisionNotFound")
        files = [{"rfilename": name} for name in commit[1]]
        return self._json(
            {"id": repo_id, "modelId": repo_id, "sha": commit[0], "siblings": files, "tags": []}
        )

    def _resolve(self):
        if "/resolve/" not in self.route:
            return self._missing("EntryNotFound")
        owner, name, _, revision, *path = self.route.split("/")
        path = "/".join(path)
        if not self._readable(f"{owner}/{name}"):
            return self._missing("RepoNotFound")
        commit = self.server.find(f"{owner}/{name}", revision)
        if commit is None:
            return self._missing("RevisionNotFound")
        if path not in commit[1]:
            return self._missing("EntryNotFound")
        data = commit[1][path]
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit[0]}
        headers["Accept-Ranges"] = "bytes"
        status, start = 200, 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            status = 206
        if self.command == "GET" and path in self.server.cut_after:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": len(data) - start}.items():
                self.send_header(key, str(value))
            self.end_headers()
            self.wfile.write(data[start : self.server.cut_after.pop(path)])
            self.wfile.flush()
            self.close_connection = True
            return None
        return self._send(status, data[start:], **headers)

    # Upload

    def do_POST(self):
        self._note()
        parts = self.route.split("/")
        if not self.server.writable:
            return self._json({"error": "You don't have the rights"}, 403)
        if self.route == "api/repos/create":
            wanted = json.loads(self.body)
            repo_id = f"{wanted['organization']}/{wanted['name']}"
            self.server.repos.setdefault(repo_id, [])
            return self._json({"url": f"{self.server.url}/{repo_id}", "id": repo_id, "name": repo_id})
        if self.route == "api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if "preupload" in parts:
            files = json.loads(self.body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            return self._json({"files": modes})
        if self.route.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(self.body)["objects"]
            for item in objects:
                if item["oid"] not in self.server.objects:
                    item["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}
            return self._json({"transfer": "basic", "objects": objects})
        if "commit" in parts:
            return self._commit("/".join(parts[2:4]))
        return self._missing("EntryNotFound")

    def do_PUT(self):
        self._note()
        sha256 = self.route.split("/")[-1]
        if hashlib.sha256(self.body).hexdigest() != sha256:
            return self._json({"error": "not what was announced"}, 400)
        self.server.objects[sha256] = self.body
        return self._send(200)

    def _commit(self, repo_id):
        files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        oid = self.server.commit(repo_id, files)
        return self._json({"commitUrl": f"{self.server.url}/{repo_id}/commit/{oid}", "commitOid": oid})
