"""What every answer says to the browser: what the page may load, and who may show it."""

from __future__ import annotations

from mqe_core.console.asgi import Headers

# Nothing of another host, in no frame. The page's library writes its start into the page itself and compiles its
# templates in the browser: so scripts in the page and `eval` are allowed, and nothing that people type goes into one.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_FOR_WORDS = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=(), midi=()",
}


def secured(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The application's headers with ours in the place of its own; what it says of keeping copies stands."""
    return _with(headers, "; ".join(f"{name} {value}" for name, value in _POLICY.items()))


def secured_words(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The same for an answer that loads nothing at all."""
    return _with(headers, _FOR_WORDS)


def _with(headers: Headers, policy: str) -> list[tuple[bytes, bytes]]:
    ours = {name.encode(): value.encode() for name, value in _ALWAYS.items()}
    ours[b"content-security-policy"] = policy.encode()
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        ours[b"cache-control"] = b"no-store"
    return [*kept, *ours.items()]
