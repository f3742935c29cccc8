//! Every check of a token with what it expects and what there is, the later ones too where an earlier one fails.
//!
//! The comparing is that of [`Policy::verify`] and [`Policy::judge`]; what comes of it decides nothing.

use serde_json::{Map, Value};

use super::{Policy, check_audience, check_claim, check_scope, said_at, texts};
use crate::authz::Rule;
use crate::config::model::TokenAlgorithm;
use crate::examined::Check;
use crate::identity::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::jwt::token::Unverified;
use crate::jwt::{KeySet, Kind, Verified};
use crate::reason::{Failure, Reason};
use crate::telemetry::rfc3339;
use crate::words::{all_in_quotes, in_quotes};

/// What a token says while nothing shows that it is true.
#[derive(Debug)]
pub struct Unproven(Verified);

impl Unproven {
    /// For showing what would be, and for nothing else.
    pub fn as_if_verified(&self) -> &Verified {
        &self.0
    }
}

impl Policy {
    /// The algorithm that claims without a token are taken to be signed with.
    pub(in crate::jwt) fn any_algorithm(&self) -> TokenAlgorithm {
        self.algorithms.first().copied().unwrap_or(TokenAlgorithm::RS256)
    }

    /// The `typ` that claims without a token are taken to have: one that the entry takes.
    pub(in crate::jwt) fn any_type(&self) -> &str {
        self.types.iter().find(|typ| ***typ != *"any").map_or("at+jwt", |typ| &**typ)
    }

    /// What `token` would be, were its signature good; for explaining. [`Policy::verify`] is what makes it so.
    pub(in crate::jwt) fn assumed(
        &self,
        token: &Unverified<'_>,
        headers: &IdentityHeaders,
    ) -> Result<Verified, Failure> {
        self.check_issuer(token.iss())?;
        let algorithm = self.algorithm(token.alg())?;
        self.said(token, algorithm, headers)
    }

    /// Each check of `token` at `now`. `keys` are its issuer's, or why there are none; `claims` are the token's own, for
    /// showing its times one by one.
    pub(in crate::jwt) fn examine(
        &self,
        token: &Unverified<'_>,
        keys: Result<&KeySet, String>,
        headers: &IdentityHeaders,
        claims: &Map<String, Value>,
        now: u64,
    ) -> (Vec<Check>, Option<Unproven>) {
        let algorithm = self.algorithm(token.alg());
        let mut checks = vec![
            Check::of("algorithm (alg)", "RFC 8725 §3.1")
                .expected(self.accepted_algorithms())
                .got(in_quotes(token.alg()))
                .judged(&algorithm.as_ref().map(drop).map_err(Failure::clone)),
        ];
        checks.extend(self.examine_signature(token, keys, algorithm.as_ref().ok().copied()));
        checks.extend(self.examine_times(token, claims, now));
        let said = self.said(token, algorithm.unwrap_or(self.any_algorithm()), headers);
        checks.push(
            Check::of("who it is", format!("user_claim = {:?}", self.names.user_claim))
                .expected("a claim that names the user")
                .got(said.as_ref().map_or("–".into(), |said| in_quotes(&said.identity.user)))
                .judged(&said.as_ref().map(drop).map_err(Failure::clone)),
        );
        let Ok(said) = said.or_else(|_| self.nobody(token)) else { return (checks, None) };
        checks.extend(self.examine_rights(&said, token.typ().is_some()));
        (checks, Some(Unproven(said)))
    }

    fn examine_signature(
        &self,
        token: &Unverified<'_>,
        keys: Result<&KeySet, String>,
        algorithm: Option<TokenAlgorithm>,
    ) -> [Check; 2] {
        let key = Check::of("key (kid)", "RFC 7515 §4.1.4").got(token.kid().map_or("none named".into(), in_quotes));
        let signature = Check::of("signature", "RFC 7515 §5.2");
        let keys = match keys {
            Ok(keys) => keys,
            Err(why) => {
                return [
                    key.not_examined(why.clone()),
                    signature.not_examined(format!("signature not examined: {why}")),
                ];
            }
        };
        let key = key.expected(format!("one of the issuer's: {}", keys.summary()));
        let Some(algorithm) = algorithm else {
            let why = "the algorithm is not accepted";
            return [key.not_examined(why), signature.not_examined(why)];
        };
        let held = keys.verify(token.kid(), algorithm, token.signed, &token.signature);
        let signature = signature.expected(format!("{algorithm:?} by that key, over header and claims"));
        match held {
            Err(failure) if failure.reason == Reason::TokenSignature => {
                [key.judged(&Ok(())), signature.got("another").judged(&Err(failure))]
            }
            Err(failure) => [key.judged(&Err(failure)), signature.not_examined("there is no one key to check it with")],
            Ok(key_issuer) => {
                [key.judged(&self.check_key_issuer(key_issuer, token.iss())), signature.got("matches").judged(&Ok(()))]
            }
        }
    }

    fn examine_times(&self, token: &Unverified<'_>, claims: &Map<String, Value>, now: u64) -> Vec<Check> {
        let (end, leeway) = (token.expires_at(), self.leeway);
        let mut checks = vec![
            Check::of("expiry (exp)", "RFC 7519 §4.1.4")
                .expected(format!("later than now, {}, less {leeway} s", rfc3339(now)))
                .got(moment(end, now))
                .judged(&self.check_end(end, now)),
        ];
        for (claim, what, source) in
            [("nbf", "not before (nbf)", "RFC 7519 §4.1.5"), ("iat", "issued at (iat)", "RFC 7519 §4.1.6")]
        {
            let check =
                Check::of(what, source).expected(format!("not later than now, {}, plus {leeway} s", rfc3339(now)));
            // Fractions are read as the whole seconds before them.
            let at = claims.get(claim).and_then(Value::as_f64).map(|at| at.max(0.0) as u64);
            checks.push(match at {
                Some(at) => check.got(moment(at, now)).judged(&self.check_beginning(at, now)),
                None => check.got("absent, which is allowed").judged(&Ok(())),
            });
        }
        checks
    }

    /// What [`Policy::judge`] asks for beside the times. `typed`: whether the header has a `typ`.
    pub(in crate::jwt) fn examine_rights(&self, said: &Verified, typed: bool) -> Vec<Check> {
        let accepted = || self.audiences.iter().map(|audience| &**audience);
        let mut checks = vec![
            Check::of("type (typ)", "RFC 9068 §2.1, RFC 8725 §3.11")
                .expected(format!(
                    "{}{}",
                    all_in_quotes(self.types.iter().map(|typ| &**typ)),
                    match self.id_tokens {
                        true => ", or an ID token",
                        false => "",
                    }
                ))
                .got(kind(&said.kind, typed))
                .judged(&self.check_type(&Verified { bound: false, ..said.clone() }, self.id_tokens)),
            Check::of("binding (cnf)", "RFC 7800 §3.1")
                .expected(if self.bound_tokens { "any" } else { "none" })
                .got(if said.bound { "bound to a key" } else { "none" })
                .judged(&self.check_binding(said)),
        ];
        let audience = Check::of("audience (aud)", "RFC 7519 §4.1.3").got(super::audiences_of(said));
        checks.push(match self.audiences.is_empty() {
            true => audience.expected("any (any_audience)").judged(&Ok(())),
            false => audience.expected(all_in_quotes(accepted().take(5))).judged(&check_audience(said, accepted())),
        });
        for scope in &self.required_scopes {
            let got = all_in_quotes(said.scopes.iter().take(5));
            checks.push(
                Check::of("scope", "required_scopes; RFC 6749 §3.3")
                    .expected(in_quotes(scope))
                    .got(if got.is_empty() { "none".to_owned() } else { got })
                    .judged(&check_scope(said, scope)),
            );
        }
        checks.extend(self.required_claims.iter().map(|rule: &Rule| {
            Check::of(format!("claim {}", rule.claim()), "required_claims")
                .expected(all_in_quotes(rule.wants()))
                .got(said_at(said, rule.claim()))
                .judged(&check_claim(said, rule))
        }));
        checks
    }

    /// A token that does not say who it is, for looking at the rest of it.
    fn nobody(&self, token: &Unverified<'_>) -> Result<Verified, Failure> {
        let subject = token.subject().to_owned();
        Ok(Verified {
            issuer: self.index,
            algorithm: Some(self.any_algorithm()),
            kind: super::kind(token),
            bound: token.is_bound(),
            audiences: texts("aud", token.audiences())?,
            scopes: texts("scope", token.scopes())?,
            expires_at: token.expires_at(),
            not_before: token.not_before(),
            token_id: None,
            without_subject: false,
            headers: Box::default(),
            identity: Identity {
                provider: self.names.voucher.to_string(),
                user: subject.clone(),
                subject,
                email: None,
                email_verified: None,
                preferred_username: None,
                name: None,
                groups: None,
                claims: Default::default(),
            },
        })
    }
}

fn kind(kind: &Kind, typed: bool) -> String {
    match kind {
        Kind::Jwt if !typed => "absent, taken as 'JWT'".into(),
        Kind::AccessToken => "'at+jwt'".into(),
        Kind::Jwt => "'JWT'".into(),
        Kind::IdToken => "an ID token".into(),
        Kind::Other(typ) => in_quotes(typ),
    }
}

/// A time, and how far from `now` it is.
fn moment(at: u64, now: u64) -> String {
    // Beyond the year 9999 no date can be written.
    let date = if at < 253_402_300_800 { rfc3339(at) } else { at.to_string() };
    match now.checked_sub(at) {
        Some(0) => format!("{date}, now"),
        Some(ago) => format!("{date}, {ago} s ago"),
        None => format!("{date}, in {} s", at - now),
    }
}
