"""The programs that are measured, one a file. Each is started with one worker, in front of the same app, with the same
key, and is told to check signature, issuer, audience and expiry, and to keep
the token from the app and hand it the subject instead: what the gateway does unless told otherwise."""
