"""The API of main.go for Python, with PyJWT: python3 api.py ISSUER AUDIENCE [ALGORITHM…]"""

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from urllib.request import urlopen

import jwt

ISSUER, AUDIENCE, *ALGORITHMS = sys.argv[1:]
ALGORITHMS = ALGORITHMS or ["ES256", "RS256", "PS256", "EdDSA", "ES384"]
REQUIRED = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]


class Keys:
    """The keys of the authorization server, found when the first token comes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.client = None

    def of(self, token):
        with self.lock:
            if self.client is None:
                self.client = self.discover()
        return self.client.get_signing_key_from_jwt(token)

    def discover(self):
        """RFC 8414, section 3."""
        url = urlsplit(ISSUER)
        # Section 3.1: the well-known part goes between the host and the path.
        path = "/.well-known/oauth-authorization-server" + url.path.removesuffix("/")
        with urlopen(url._replace(path=path).geturl(), timeout=5) as answer:
            metadata = json.load(answer)
        if metadata["issuer"] != ISSUER:  # section 3.3
            raise ValueError("metadata: another issuer")
        return jwt.PyJWKClient(
            metadata["jwks_uri"],
            timeout=5,
            lifespan=float(os.environ.get("KEYS_MAX_AGE", 300)),  # so long a withdrawn key is believed
            cooldown_duration=float(os.environ.get("KEYS_COOLDOWN", 10)),  # between two looks for a new key
        )


keys = Keys()


def verify(token):
    """The claims of a good token (RFC 9068, section 4), else InvalidTokenError or PyJWKClientError."""
    decoded = jwt.decode_complete(
        token,
        keys.of(token),
        algorithms=ALGORITHMS,
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": REQUIRED},
    )
    # PyJWT does not look at typ: an ID token must not pass.
    if str(decoded["header"].get("typ")).lower() not in ("at+jwt", "application/at+jwt"):
        raise jwt.InvalidTokenError("typ")
    # Of a token that is bound to a key, nobody here could check that (RFC 9449, section 7.2).
    if "cnf" in decoded["payload"]:
        raise jwt.InvalidTokenError("cnf")
    return decoded["payload"]


class Notes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.serve("notes:read")

    def do_POST(self):
        self.serve("notes:write")

    def serve(self, scope):
        if self.path != "/notes":
            return self.answer(404)
        challenge = f'Bearer scope="{scope}"'
        authorization = self.headers.get("Authorization", "")
        if not re.match(r"bearer( |$)", authorization, re.IGNORECASE):
            # RFC 6750, section 3.1: no error code where no token was sent.
            return self.answer(401, challenge)
        # RFC 7515, section 2: three parts in base64url, without padding.
        token = re.fullmatch(r"bearer +([\w-]+\.[\w-]+\.[\w-]+)", authorization, re.IGNORECASE | re.ASCII)
        try:
            if token is None:
                raise jwt.InvalidTokenError("malformed header")
            claims = verify(token[1])
        except jwt.PyJWKClientConnectionError:
            return self.answer(503)
        except (jwt.InvalidTokenError, jwt.PyJWKClientError):
            return self.answer(401, challenge + ', error="invalid_token"')
        except Exception:  # of the discovery: nobody gets in, and nobody is told that the token was bad
            return self.answer(503)
        if scope not in claims.get("scope", "").split(" "):
            return self.answer(403, challenge + ', error="insufficient_scope"')
        # RFC 9068, section 2.2: where no user is involved, sub names the client.
        user = "" if claims["sub"] == "client:" + claims["client_id"] else claims["sub"]
        self.answer(200, body={"client": claims["client_id"], "user": user, "scope": claims["scope"]})

    def answer(self, status, challenge=None, body=None):
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
server.daemon_threads = True
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
