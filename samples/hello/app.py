"""The smallest app that shows what the platform gives it: standard library alone."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        app = json.loads(os.environ["VCAP_APPLICATION"])
        body = f"Hello from {app['application_name']}, instance {app['instance_index']}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(format % args, flush=True)


port = int(os.environ["PORT"])
print(f"listening on port {port}", flush=True)
ThreadingHTTPServer(("", port), Hello).serve_forever()
