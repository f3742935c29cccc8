//! What one issuer's entry asks of a token.
//!
//! Two steps, because the first is dear and can be remembered, and the second is cheap and never is: [`Policy::verify`]
//! makes a [`Verified`] of a token, and [`Policy::judge`] holds it against the entry and the clock. Nothing that the
//! second one says is kept anywhere.

mod examine;

pub use examine::Unproven;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::introspection::Said;
use super::key_set::KeySet;
use super::token::{self, Event, MAX_TIME, Unverified};
use super::{Kind, Texts, Verified};
use crate::authz::Rule;
use crate::claims::{self, ClaimNames, NeededClaims};
use crate::config::model::{self, TENANT, TokenAlgorithm, tenant_in};
use crate::identity::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::reason::{Failure, Reason};
use crate::words::{all_in_quotes, in_quotes};

/// All that can be asked for; those for a shared secret are the last three.
const ALGORITHMS: [TokenAlgorithm; 13] = {
    use TokenAlgorithm::*;
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512]
};

/// Types that are made for something else than to be sent to an API, and that `any` does not stand for.
const NOT_FOR_APIS: [&str; 10] = [
    "logout+jwt",
    "secevent+jwt",
    "dpop+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "client-authentication+jwt",
    "authorization-grant+jwt",
    "entity-statement+jwt",
    "kb+jwt",
    "rt+jwt",
];

/// What a `typ` among the claims of an introspection response says of a token that is none for access (Keycloak), beside
/// [`NOT_FOR_APIS`].
const NOT_FOR_ACCESS: [&str; 6] = ["refresh", "offline", "id", "logout", "id+jwt", "id_token+jwt"];

/// What `token_type` and `token_use` call a token for access (RFC 6749 §7.1, RFC 9068 §2.1, RFC 8693 §3).
const FOR_ACCESS: [&str; 5] =
    ["bearer", "at+jwt", "access_token", "access", "urn:ietf:params:oauth:token-type:access_token"];

/// The `[[issuer]]` entry, compiled.
pub struct Policy {
    /// Index of the issuer.
    index: usize,
    /// Every value of `iss` it stands for.
    issuers: Box<[Box<str>]>,
    /// The same as the entry spells them, with `{tenantid}`.
    spelled: Box<[Box<str>]>,
    /// Empty where it takes tokens for anybody.
    audiences: Box<[Box<str>]>,
    algorithms: Box<[TokenAlgorithm]>,
    types: Box<[Box<str>]>,
    id_tokens: bool,
    bound_tokens: bool,
    required_claims: Box<[Rule]>,
    required_scopes: Box<[Box<str>]>,
    /// In seconds.
    leeway: u64,
    names: ClaimNames,
    needed: NeededClaims,
}

impl Policy {
    /// Compiles the entry of the issuer at `index`; `settings.issuer` is set, were it by `provider`.
    pub fn new(index: usize, settings: &model::Issuer, needed: NeededClaims) -> Result<Policy, Failure> {
        let invalid = |why: String| Failure::new(Reason::ConfigInvalid, format!("issuer `{}`: {why}", settings.name));
        let issuers: Vec<Box<str>> = settings.texts(None).into_iter().map(Box::from).collect();
        if issuers.is_empty() {
            return Err(invalid("`issuer` is not set".into()));
        }
        let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
        let types = settings.typ.iter().map(|typ| bare(typ).into()).collect();
        let rules = settings.required_claims.iter().map(Rule::new).collect::<Result<_, _>>();
        Ok(Policy {
            index,
            issuers: issuers.into(),
            spelled: settings.issuer.iter().chain(&settings.issuer_aliases).map(|text| text.as_str().into()).collect(),
            audiences: if settings.any_audience { Box::default() } else { boxed(&settings.audiences) },
            algorithms: algorithms(settings),
            types,
            id_tokens: settings.id_tokens,
            bound_tokens: settings.bound_tokens,
            required_claims: rules.map_err(invalid)?,
            required_scopes: boxed(&settings.required_scopes),
            leeway: settings.leeway.0.as_secs(),
            names: ClaimNames::of_issuer(settings),
            needed,
        })
    }

    /// Every `iss` it stands for.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|iss| &**iss)
    }

    /// Paths of the claims that are read of its tokens, beside those that are read of every token.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        // `identity` takes `sub` from where every token has it.
        let user = Some(&*self.names.user_claim).filter(|claim| *claim != "sub");
        let own = [&*self.names.email_claim, &*self.names.groups_claim, "token_use", "typ"];
        user.into_iter().chain(own).chain(self.needed.paths()).chain(self.names.made.sources())
    }

    /// Algorithm, signature, and who it is. Not times, audience, type, scopes and required claims: [`Policy::judge`].
    pub fn verify(
        &self,
        token: &Unverified<'_>,
        keys: &KeySet,
        headers: &IdentityHeaders,
    ) -> Result<Verified, Failure> {
        self.check_issuer(token.iss())?;
        let algorithm = self.algorithm(token.alg())?;
        let key_issuer = keys.verify(token.kid(), algorithm, token.signed, &token.signature)?;
        self.check_key_issuer(key_issuer, token.iss())?;
        self.said(token, algorithm, headers)
    }

    /// The algorithm of that name, where the entry takes it (RFC 8725 §3.1).
    fn algorithm(&self, alg: &str) -> Result<TokenAlgorithm, Failure> {
        let named = token::algorithm(alg).filter(|algorithm| self.algorithms.contains(algorithm));
        named.ok_or_else(|| {
            let detail = format!("algorithm is {}; accepted is {}", in_quotes(alg), self.accepted_algorithms());
            Failure::new(Reason::TokenAlgorithm, detail)
        })
    }

    fn accepted_algorithms(&self) -> String {
        let accepted: Vec<String> = self.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        accepted.join(", ")
    }

    /// What a token says whose signature holds, or that is taken for one to explain what would become of it.
    fn said(
        &self,
        token: &Unverified<'_>,
        algorithm: TokenAlgorithm,
        headers: &IdentityHeaders,
    ) -> Result<Verified, Failure> {
        let identity = self.identity(token.subject(), token.wanted())?;
        Ok(Verified {
            issuer: self.index,
            algorithm: Some(algorithm),
            kind: kind(token),
            bound: token.is_bound(),
            audiences: texts("aud", token.audiences())?,
            scopes: texts("scope", token.scopes())?,
            expires_at: token.expires_at(),
            not_before: token.not_before(),
            token_id: token.token_id().map(Box::from),
            without_subject: false,
            headers: self.headers(&identity, headers)?,
            identity,
        })
    }

    /// From the claims of an introspection response (RFC 7662 §2.2), which has no signature of its own.
    pub fn introspected(&self, claims: &Map<String, Value>, headers: &IdentityHeaders) -> Result<Verified, Failure> {
        // Whoever asked has told the admin what is wrong with it; the client cannot help it.
        let said = Said::read(claims).map_err(|_| Failure::from(Reason::IntrospectionUnavailable))?;
        if let Some(iss) = said.issuer {
            self.check_issuer(iss)?;
        }
        check_use(&said)?;
        // Tokens of a client for itself may have no `sub`. What stands in for it is what the entry says names the user.
        let own = said.subject.filter(|subject| !subject.is_empty());
        let user = claims.get(&*self.names.user_claim).and_then(Value::as_str).filter(|user| !user.is_empty());
        let subject = own.or(user);
        let missing = || Failure::new(Reason::TokenForm, "`sub` of the introspection response is missing");
        let identity = self.identity(subject.ok_or_else(missing)?, claims)?;
        Ok(Verified {
            issuer: self.index,
            algorithm: None,
            kind: Kind::AccessToken,
            // RFC 9449 §6.2: such a token is of the type `DPoP`, were its key not told.
            bound: said.bound || said.token_type.is_some_and(is_dpop),
            audiences: said.audiences,
            scopes: said.scopes,
            expires_at: said.expires_at.unwrap_or(MAX_TIME),
            not_before: said.not_before.unwrap_or(0),
            token_id: said.token_id.map(Box::from),
            without_subject: own.is_none(),
            headers: self.headers(&identity, headers)?,
            identity,
        })
    }

    /// Times, type, audience, scopes and claims, in this order. To pass allocates nothing.
    pub fn judge(&self, verified: &Verified, now: u64) -> Result<(), Failure> {
        self.check_times(verified, now)?;
        self.check_type(verified, self.id_tokens)?;
        if !self.audiences.is_empty() {
            check_audience(verified, self.audiences.iter().map(|audience| &**audience))?;
        }
        self.check_rights(verified)
    }

    /// The same of an assertion that is to be exchanged: with audiences of its own, any where `None`, and ID tokens are as
    /// good as others.
    pub fn judge_assertion(&self, verified: &Verified, now: u64, audiences: Option<&[String]>) -> Result<(), Failure> {
        self.check_times(verified, now)?;
        self.check_type(verified, true)?;
        if let Some(audiences) = audiences {
            check_audience(verified, audiences.iter().map(String::as_str))?;
        }
        self.check_rights(verified)
    }

    fn check_issuer(&self, iss: &str) -> Result<(), Failure> {
        match self.issuers().any(|own| own == iss) {
            true => Ok(()),
            false => Err(Failure::new(Reason::TokenIssuer, format!("issuer is {}", in_quotes(iss)))),
        }
    }

    /// A key set for many tenants says of each key whose it is, and another tenant's key is as good as a stranger's. A token
    /// may call its issuer by another of the entry's names (Entra's v1 tokens have v2's keys), but not by another tenant's.
    fn check_key_issuer(&self, key_issuer: Option<&str>, iss: &str) -> Result<(), Failure> {
        let Some(key_issuer) = key_issuer.filter(|said| *said != iss) else { return Ok(()) };
        let tenant = self.spelled.iter().find_map(|text| tenant_in(text, iss));
        let mut names = self.spelled.iter().filter(|text| text.contains(TENANT) == tenant.is_some());
        let fits = match tenant {
            Some(own) => names.any(|text| text.replace(TENANT, own) == key_issuer.replace(TENANT, own)),
            None => names.any(|text| **text == *key_issuer || tenant_in(key_issuer, text).is_some()),
        };
        match fits {
            true => Ok(()),
            false => {
                let detail = format!("the key is for issuer {}, not {}", in_quotes(key_issuer), in_quotes(iss));
                Err(Failure::new(Reason::TokenKey, detail))
            }
        }
    }

    fn identity(&self, subject: &str, claims: &Map<String, Value>) -> Result<Identity, Failure> {
        claims::identity(&self.names, &self.needed, subject, claims).map_err(unusable)
    }

    fn headers(&self, who: &Identity, headers: &IdentityHeaders) -> Result<Box<[(HeaderName, HeaderValue)]>, Failure> {
        headers.of(who).map(Vec::into_boxed_slice).map_err(unusable)
    }

    /// RFC 7519 §4.1.4 to §4.1.6.
    fn check_times(&self, verified: &Verified, now: u64) -> Result<(), Failure> {
        self.check_end(verified.expires_at, now)?;
        self.check_beginning(verified.not_before, now)
    }

    fn check_end(&self, expires_at: u64, now: u64) -> Result<(), Failure> {
        if now >= expires_at.saturating_add(self.leeway) {
            let detail = format!("expired {} s ago", now.saturating_sub(expires_at));
            return Err(Failure::new(Reason::TokenExpired, detail));
        }
        Ok(())
    }

    fn check_beginning(&self, not_before: u64, now: u64) -> Result<(), Failure> {
        if not_before > now.saturating_add(self.leeway) {
            let detail = format!("not valid for another {} s", not_before - now);
            return Err(Failure::new(Reason::TokenNotYetValid, detail));
        }
        Ok(())
    }

    /// RFC 8725 §3.11: a token that was made for something else is no access token, though its signature holds.
    fn check_type(&self, verified: &Verified, id_tokens: bool) -> Result<(), Failure> {
        self.check_binding(verified)?;
        let listed = |typ: &str| self.types.iter().any(|accepted| **accepted == *typ);
        let (typ, accepted): (&str, _) = match &verified.kind {
            // The issuer itself said that it is good for access; there is no header that could say more.
            _ if verified.algorithm.is_none() => return Ok(()),
            Kind::IdToken if id_tokens => return Ok(()),
            Kind::IdToken => {
                let detail = "it is an ID token, which is made for signing in; this takes access tokens";
                return Err(Failure::new(Reason::TokenType, detail));
            }
            Kind::AccessToken => ("at+jwt", listed("at+jwt") || listed("any")),
            Kind::Jwt => ("JWT", listed("jwt") || listed("any")),
            Kind::Other(typ) => (typ, listed(typ) || listed("any") && !NOT_FOR_APIS.contains(&&**typ)),
        };
        if accepted {
            return Ok(());
        }
        let wanted = all_in_quotes(self.types.iter().map(|typ| &**typ));
        // The `typ` itself is not kept: without one a token counts as a JWT (RFC 7519 §5.1).
        let absent = if verified.kind == Kind::Jwt { " or absent" } else { "" };
        Err(Failure::new(Reason::TokenType, format!("type is {}{absent}; accepted is {wanted}", in_quotes(typ))))
    }

    /// Whoever stole a token that is bound to a key has not got that key, and that is what it was bound for.
    fn check_binding(&self, verified: &Verified) -> Result<(), Failure> {
        if verified.bound && !self.bound_tokens {
            let detail = "it is bound to a key (cnf), which this gateway does not check";
            return Err(Failure::new(Reason::TokenType, detail));
        }
        Ok(())
    }

    fn check_rights(&self, verified: &Verified) -> Result<(), Failure> {
        self.required_scopes.iter().try_for_each(|scope| check_scope(verified, scope))?;
        self.required_claims.iter().try_for_each(|rule| check_claim(verified, rule))
    }
}

fn check_scope(verified: &Verified, wanted: &str) -> Result<(), Failure> {
    if verified.scopes.contains(wanted) {
        return Ok(());
    }
    let got = match verified.scopes.is_empty() {
        true => "there is none".into(),
        false => format!("it has {}", all_in_quotes(verified.scopes.iter().take(5))),
    };
    Err(Failure::new(Reason::TokenScope, format!("scope {} is needed; {got}", in_quotes(wanted))))
}

fn check_claim(verified: &Verified, rule: &Rule) -> Result<(), Failure> {
    // An address that its owner has not proved is somebody else's word.
    let unproved = verified.identity.email_verified == Some(false) && rule.claim() == "email";
    if rule.is_met(&verified.identity) && !unproved {
        return Ok(());
    }
    let (got, wanted) = (said_at(verified, rule.claim()), all_in_quotes(rule.wants()));
    let detail = format!("claim {} is {got}; required is {wanted}", in_quotes(rule.claim()));
    Err(Failure::new(Reason::TokenClaim, detail))
}

fn said_at(verified: &Verified, claim: &str) -> String {
    match verified.identity.at(claim).map(|said| said.strings()) {
        None => "missing".into(),
        Some(said) => all_in_quotes(said.iter().take(5).map(String::as_str)),
    }
}

/// RFC 7519 §4.1.3.
fn check_audience<'a>(verified: &Verified, accepted: impl Iterator<Item = &'a str> + Clone) -> Result<(), Failure> {
    if accepted.clone().any(|wanted| verified.audiences.contains(wanted)) {
        return Ok(());
    }
    let got = audiences_of(verified);
    let detail = format!("audience is {got}; accepted is {}", all_in_quotes(accepted.take(5)));
    Err(Failure::new(Reason::TokenAudience, detail))
}

fn audiences_of(verified: &Verified) -> String {
    match verified.audiences.is_empty() {
        true => "missing".into(),
        false => all_in_quotes(verified.audiences.iter().take(5)),
    }
}

fn texts<'t>(claim: &str, texts: impl Iterator<Item = &'t str>) -> Result<Texts, Failure> {
    Texts::of(texts)
        .ok_or_else(|| Failure::new(Reason::TokenForm, format!("`{claim}` holds a text with a control character")))
}

/// The algorithms of the entry. For a secret those whose hash is no longer than it (RFC 7518 §3.2).
fn algorithms(settings: &model::Issuer) -> Box<[TokenAlgorithm]> {
    if !settings.algorithms.is_empty() {
        return settings.algorithms.as_slice().into();
    }
    let (public, hmac) = ALGORITHMS.split_at(10);
    match settings.secret.as_ref().map(|secret| secret.expose().len()) {
        None => public.into(),
        Some(length) => {
            let long_enough = hmac.iter().zip([32, 48, 64]).filter(|(_, least)| *least <= length);
            long_enough.map(|(algorithm, _)| *algorithm).collect()
        }
    }
}

/// A `typ` as types are compared (RFC 7515 §4.1.9).
fn bare(typ: &str) -> String {
    let mut typ = typ.to_ascii_lowercase();
    if let Some(rest) = typ.strip_prefix("application/").filter(|rest| !rest.contains('/')) {
        typ = rest.to_owned();
    }
    typ
}

/// Issuers call refresh tokens active, too, and RFC 7662 has no member that must tell them apart. What an issuer does say
/// counts, whichever of these members it says it in.
fn check_use(said: &Said<'_>) -> Result<(), Failure> {
    let for_access = |said: &&str| FOR_ACCESS.contains(&&*bare(said));
    let not_for_access = |said: &&str| {
        let said = bare(said);
        NOT_FOR_ACCESS.contains(&&*said) || NOT_FOR_APIS.contains(&&*said)
    };
    let other = |member: &str, said: &str| {
        let detail = format!("`{member}` is {}; this takes access tokens", in_quotes(said));
        Err(Failure::new(Reason::TokenType, detail))
    };
    match (said.token_use, said.typ.filter(not_for_access), said.token_type) {
        (Some(used), _, _) if !for_access(&used) => other("token_use", used),
        (_, Some(typ), _) => other("typ", typ),
        (_, _, Some(token_type)) if !for_access(&token_type) && !is_dpop(token_type) => other("token_type", token_type),
        _ => Ok(()),
    }
}

/// The other `token_type` for access, of tokens that are bound to a key (RFC 9449 §5).
fn is_dpop(token_type: &str) -> bool {
    token_type.eq_ignore_ascii_case("dpop")
}

/// What the header's `typ` and the claims say it is. `token_use` is Cognito's and `typ` Keycloak's way to say it.
fn kind(token: &Unverified<'_>) -> Kind {
    let said = |claim: &str| token.wanted().get(claim).and_then(Value::as_str).map(bare);
    let elsewhere = said("token_use").filter(|used| !FOR_ACCESS.contains(&used.as_str()));
    match elsewhere.or_else(|| said("typ").filter(|typ| NOT_FOR_ACCESS.contains(&typ.as_str()))).as_deref() {
        Some("id" | "id+jwt" | "id_token+jwt") => return Kind::IdToken,
        Some(other) => return Kind::Other(other.into()),
        None => {}
    }
    match (token.event(), token.typ().map(bare).as_deref()) {
        (Some(Event::Logout), _) => Kind::Other("logout+jwt".into()),
        (Some(Event::Other), _) => Kind::Other("secevent+jwt".into()),
        (None, Some("at+jwt")) => Kind::AccessToken,
        (None, Some("id_token+jwt" | "id+jwt")) => Kind::IdToken,
        (None, None | Some("" | "jwt")) if token.has_marks_of_an_id_token() => Kind::IdToken,
        (None, None | Some("" | "jwt")) => Kind::Jwt,
        (None, Some(other)) => Kind::Other(other.into()),
    }
}

/// What keeps a token from saying who it is. The names of claims stand in the detail, and no values.
fn unusable(failure: Failure) -> Failure {
    match failure.reason {
        Reason::ClaimMalformed | Reason::EmailUnverified => Failure::new(Reason::TokenIdentity, failure.detail),
        _ => failure,
    }
}
