//! Sign-ins against a small provider that misbehaves on demand.
