"""A web server that does what its path says."""
import http.server, os, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        verb, _, rest = self.path[1:].partition("/")
        text = "hello"
        if verb == "env":
            text = os.environ.get(rest, "unset")
        elif verb == "say":
            print(rest)
            print("error: " + rest, file=sys.stderr)
        elif verb == "log":
            with open("/home/vcap/logs/own.log", "a") as file:
                file.write(rest + "\n")
        elif verb == "exit":
            os._exit(int(rest))
        elif verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "eat":
            hold = [bytearray(os.urandom(1 << 20)) for _ in range(int(rest))]
            text = str(len(hold))
        elif verb == "fill":
            try:
                with open("/home/vcap/tmp/fill", "wb") as file:
                    for _ in range(int(rest)):
                        file.write(os.urandom(1 << 20))
                        file.flush()
            except OSError as error:
                text = error.strerror
        elif verb == "flood":
            for nth in range(int(rest)):
                print("flood", nth)
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

def bye(*_):
    print("bye")
    sys.exit(0)

signal.signal(signal.SIGTERM, bye)
print("listening on", os.environ["PORT"])
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
