"""Keys, and JSON Web Tokens signed with them (RFC 7515, RFC 7518, RFC 8037)."""

import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness.processes import leave_signals_to_parent


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(token):
    """What a token says, whoever signed it."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Key:
    """A signing key of an issuer."""

    def __init__(self, algorithm, kid, private=None):
        self.algorithm, self.kid = algorithm, kid
        if private is None:
            if algorithm in ("RS256", "PS256"):
                private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            elif algorithm == "ES256":
                private = ec.generate_private_key(ec.SECP256R1())
            else:
                private = ed25519.Ed25519PrivateKey.generate()
        self.private = private

    def __reduce__(self):
        """Keys travel to other processes as PEM."""
        pem = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _unpack, (self.algorithm, self.kid, pem)

    def public_pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self):
        """The public half as a JWK (RFC 7517)."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        public = self.private.public_key()
        if self.algorithm in ("RS256", "PS256"):
            numbers = public.public_numbers()
            length = (numbers.n.bit_length() + 7) // 8
            return {"kty": "RSA", "n": b64(numbers.n.to_bytes(length, "big")), "e": "AQAB", **common}
        if self.algorithm == "ES256":
            numbers = public.public_numbers()
            x, y = (b64(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **common}
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **common}

    def signature(self, data):
        if self.algorithm == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if self.algorithm == "PS256":
            return self.private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(data)

    def token(self, claims, **header):
        """A signed token; `header` overrides what its header says of algorithm, kid and typ."""
        head = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid, **header}
        signed = f"{b64(compact(head))}.{b64(compact(claims))}"
        return f"{signed}.{b64(self.signature(signed.encode()))}"


def _unpack(algorithm, kid, pem):
    return Key(algorithm, kid, serialization.load_pem_private_key(pem, None))


def claims(issuer, audience, number, seconds=3600, groups=12):
    """What an access token of a company's provider says: with RS256 about 1.1 KB of token."""
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": f"user-{number:06}@example.com",
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now + seconds,
        "jti": f"{number:032x}",
        "client_id": "ci",
        "scope": "openid profile email read write",
        "email": f"user-{number:06}@example.com",
        "email_verified": True,
        "name": f"User Number {number}",
        "groups": [f"group-{number % 97:02}-{i:02}" for i in range(groups)],
    }


def altered(token):
    """The same token with another signature of the same length."""
    # Not the last character: some of its bits are padding, and a strict decoder would refuse the form.
    at = len(token) - 40
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


def garbage(token):
    """As many characters as the token, of the same alphabet, and no form of a token at all."""
    return b64(os.urandom(len(token)))[: len(token)]


def unsigned(claims_):
    """`alg` none (RFC 7519 §6)."""
    return f"{b64(compact({'alg': 'none', 'typ': 'JWT'}))}.{b64(compact(claims_))}."


def confused(key, claims_):
    """HS256 with the public key as its secret, which a verifier that believes `alg` would accept."""
    signed = f"{b64(compact({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid}))}.{b64(compact(claims_))}"
    return f"{signed}.{b64(hmac.new(key.public_pem(), signed.encode(), hashlib.sha256).digest())}"


def _sign(work):
    key, issuer, audience, numbers, seconds = work
    return [key.token(claims(issuer, audience, number, seconds)) for number in numbers]


def many(key, issuer, audience, count, seconds=3600, first=0):
    """`count` tokens, no two alike, signed on all cores."""
    step = 500
    work = [
        (key, issuer, audience, range(at, min(at + step, first + count)), seconds)
        for at in range(first, first + count, step)
    ]
    with multiprocessing.Pool(initializer=leave_signals_to_parent) as pool:
        return [token for part in pool.imap(_sign, work) for token in part]
