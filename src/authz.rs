//! Who may: the rules of a route against an [`Identity`], a verdict for an answer.
//!
//! Promise: whoever meets one entry of any list passes, and nobody else. What cannot be read in one way only (an
//! address with two `@`, letters outside ASCII in a domain) meets no rule. Nothing is remembered between two
//! requests; the verdict is made anew from the identity each time.

use crate::config::model::{Allow, ClaimRule};
use crate::examined::Check;
use crate::identity::{Identity, Said};
use crate::reason::{Failure, Reason};
use crate::words::in_words;

/// What the rules say about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// [`Reason::RuleNotMet`], [`Reason::EmailUnverified`] or [`Reason::ClaimAbsent`].
    Deny(Failure),
}

/// The rules of a route, checked and ready to judge.
#[derive(Clone, Debug)]
pub struct Rules {
    /// All lists are sorted, so that ten thousand groups of one person cost a binary search each.
    groups: Box<[Box<str>]>,
    emails: Box<[Box<str>]>,
    domains: Box<[Box<str>]>,
    claims: Box<[Rule]>,
}

/// A rule on one claim.
#[derive(Clone, Debug)]
pub struct Rule {
    claim: Box<str>,
    wants: Wants,
}

#[derive(Clone, Debug)]
enum Wants {
    /// The claim is this scalar; a list never is.
    Equals(Box<str>),
    /// The claim is a list with one of these, or one of these itself: providers send a list of one as a string.
    OneOf(Box<[Box<str>]>),
}

impl Rules {
    /// Compiles the rules. An entry that could never be met, and rules that name nobody, are errors in a sentence.
    pub fn new(allow: &Allow) -> Result<Rules, String> {
        if allow.emails.is_empty()
            && allow.email_domains.is_empty()
            && allow.groups.is_empty()
            && allow.claims.is_empty()
        {
            return Err(
                "`allow` names nobody, so nobody could pass; leave it out to let everybody in who is signed in"
                    .to_owned(),
            );
        }
        for email in &allow.emails {
            if Address::read(email).is_none() {
                return Err(format!("`{email}` is no e-mail address; write as in \"jo@example.com\""));
            }
        }
        for domain in &allow.email_domains {
            if !is_domain(domain) {
                return Err(format!(
                    "`{domain}` is no domain; write it without `@` or `*`, as in \"example.com\", and letters outside \
                     ASCII in their `xn--` form"
                ));
            }
        }
        if allow.groups.iter().any(String::is_empty) {
            return Err("a group has no name".to_owned());
        }
        Ok(Rules {
            groups: sorted(allow.groups.iter().cloned()),
            emails: sorted(allow.emails.iter().map(|email| email.to_ascii_lowercase())),
            domains: sorted(allow.email_domains.iter().map(|domain| domain.to_ascii_lowercase())),
            claims: allow.claims.iter().map(Rule::new).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `identity` meets one of the rules. Passing allocates nothing, but for addresses that are not in lower case.
    pub fn judge(&self, identity: &Identity) -> Verdict {
        if self.group_is_named(identity) {
            return Verdict::Allow;
        }
        // An address that its owner has not proved is somebody else's word. Providers that do not say (`None`) are
        // believed: most directories verify by issuing the address.
        let email_counts = email_counts(identity);
        let by_email = self.email_is_named(identity);
        if by_email && email_counts {
            return Verdict::Allow;
        }
        let mut unproved = by_email;
        for rule in &self.claims {
            if rule.is_met(identity) {
                // A rule on the claim `email` is an e-mail rule in other clothes.
                if email_counts || &*rule.claim != "email" {
                    return Verdict::Allow;
                }
                unproved = true;
            }
        }
        Verdict::Deny(self.why_not(identity, unproved))
    }

    /// Each rule with what it names, what the identity says there, and whether that is met: [`Rules::judge`] list by list.
    /// `place`: where the rules are written.
    pub fn examine(&self, identity: &Identity, place: &str) -> Vec<Check> {
        let said = |path: &str| match identity.at(path).map(|said| said.strings()) {
            None => "absent".to_owned(),
            Some(said) => listed(said.iter().map(String::as_str)),
        };
        let mut checks = Vec::new();
        let mut lists = |what: &str, named: &[Box<str>], got: String, met: bool, unproved: bool| {
            if !named.is_empty() {
                let check = Check::of(format!("allow.{what}"), place).got(got).met(met && !unproved);
                let wanted = check.expected(listed(named.iter().map(|entry| &**entry)));
                checks.push(if met && unproved { wanted.detail(UNPROVED) } else { wanted });
            }
        };
        let unproved = !email_counts(identity);
        lists("groups", &self.groups, said("groups"), self.group_is_named(identity), false);
        lists("emails", &self.emails, said("email"), self.address_is_named(identity), unproved);
        lists("email_domains", &self.domains, said("email"), self.domain_is_named(identity), unproved);
        for rule in &self.claims {
            let (met, unproved) = (rule.is_met(identity), unproved && &*rule.claim == "email");
            let check = Check::of(format!("allow.claims `{}`", rule.claim), place).met(met && !unproved);
            let check = check.expected(listed(rule.wants())).got(said(&rule.claim));
            checks.push(if met && unproved { check.detail(UNPROVED) } else { check });
        }
        checks
    }

    fn group_is_named(&self, identity: &Identity) -> bool {
        identity.groups.as_ref().is_some_and(|groups| groups.iter().any(|group| holds(&self.groups, group)))
    }

    fn email_is_named(&self, identity: &Identity) -> bool {
        self.domain_is_named(identity) || self.address_is_named(identity)
    }

    fn domain_is_named(&self, identity: &Identity) -> bool {
        let email = identity.email.as_deref().filter(|_| !self.domains.is_empty());
        email.and_then(Address::read).is_some_and(|address| holds_lowercase(&self.domains, address.domain))
    }

    fn address_is_named(&self, identity: &Identity) -> bool {
        let email = identity.email.as_deref().filter(|_| !self.emails.is_empty());
        email.is_some_and(|email| Address::read(email).is_some() && holds_lowercase(&self.emails, email))
    }

    /// The claims that the rules go by and that the identity does not hold at all, each once.
    pub fn absent(&self, identity: &Identity) -> Vec<&str> {
        let mut read = Vec::new();
        if !self.groups.is_empty() {
            read.push("groups");
        }
        if !(self.emails.is_empty() && self.domains.is_empty()) {
            read.push("email");
        }
        read.extend(self.claims.iter().map(|rule| &*rule.claim));
        let mut absent: Vec<&str> = Vec::new();
        for claim in read {
            if identity.at(claim).is_none() && !absent.contains(&claim) {
                absent.push(claim);
            }
        }
        absent
    }

    fn why_not(&self, identity: &Identity, unproved: bool) -> Failure {
        if unproved {
            let domain = domain_of(identity);
            let detail = format!("a rule names the address, which is of {domain}, and `email_verified` is false");
            return Failure::new(Reason::EmailUnverified, detail);
        }
        let absent = self.absent(identity);
        if absent.is_empty() {
            return Failure::new(Reason::RuleNotMet, self.not_met(identity));
        }
        let absent: Vec<_> = absent.iter().map(|claim| format!("`{claim}`")).collect();
        Failure::new(Reason::ClaimAbsent, format!("the session holds no claim {}", absent.join(", ")))
    }

    /// What the rules want and what came, for the log: of addresses the domain alone, of lists their length and first entries.
    fn not_met(&self, identity: &Identity) -> String {
        let mut parts = Vec::new();
        let named = |entries: &[Box<str>]| counted(entries.iter().map(|entry| &**entry));
        if !self.groups.is_empty() {
            let got = counted(identity.groups.iter().flatten().map(String::as_str));
            parts.push(format!("`groups` expected {}, got {got}", named(&self.groups)));
        }
        if !self.domains.is_empty() {
            parts.push(format!("`email_domains` expected {}, got {}", named(&self.domains), domain_of(identity)));
        }
        if !self.emails.is_empty() {
            let (count, domain) = (self.emails.len(), domain_of(identity));
            parts.push(format!("`emails` expected one of {count}, got another, of {domain}"));
        }
        let more = self.claims.len().saturating_sub(RULES_SHOWN);
        for Rule { claim, wants } in self.claims.iter().take(RULES_SHOWN) {
            let said = identity.at(claim);
            let got = match &**claim {
                "email" => domain_of(identity),
                _ => {
                    let said = said.map(|said| said.strings()).unwrap_or_default();
                    counted(said.iter().map(String::as_str))
                }
            };
            let wanted = match wants {
                Wants::Equals(value) => in_words(value),
                Wants::OneOf(entries) => named(entries),
            };
            let list = matches!(wants, Wants::Equals(_)) && said.is_some_and(|said| said.is_list());
            let list = if list { "the list of " } else { "" };
            parts.push(format!("claim `{claim}` expected {wanted}, got {list}{got}"));
        }
        if more > 0 {
            parts.push(format!("{more} more rules"));
        }
        parts.join("; ")
    }
}

/// Rules on claims that a detail tells of.
const RULES_SHOWN: usize = 4;

/// The domain of the address, in quotes, for whoever may not read the rest of it.
fn domain_of(identity: &Identity) -> String {
    match identity.email.as_deref().map(Address::read) {
        None => "no address".to_owned(),
        Some(None) => "an address that has no single reading".to_owned(),
        Some(Some(address)) => in_words(address.domain),
    }
}

/// How many there are and the first of them, each cut short: "`a`, `b`" or "250, of them `a`, `b`, `c`".
fn counted<'t>(mut texts: impl Iterator<Item = &'t str>) -> String {
    const SHOWN: usize = 5;
    let cut = |text: &str| in_words(&text.chars().take(80).collect::<String>());
    let shown: Vec<String> = texts.by_ref().take(SHOWN).map(cut).collect();
    match (shown.len(), texts.count()) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (some, more) => format!("{}, of them {}", some + more, shown.join(", ")),
    }
}

/// What is said of a rule that an address would meet.
const UNPROVED: &str = "the address would meet it, and `email_verified` is false";

/// Whether the address counts: one that its owner has not proved is somebody else's word.
fn email_counts(identity: &Identity) -> bool {
    identity.email_verified != Some(false)
}

/// Some of the texts, in quotes.
fn listed<'t>(mut texts: impl Iterator<Item = &'t str>) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = texts.by_ref().take(SHOWN).map(in_words).collect();
    match (shown.is_empty(), texts.count()) {
        (true, _) => "an empty list".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{}, and {more} more", shown.join(", ")),
    }
}

impl Rule {
    pub fn new(rule: &ClaimRule) -> Result<Rule, String> {
        let claim = &rule.claim;
        if claim.is_empty() {
            return Err("a rule names no claim".to_owned());
        }
        let wants = match (&rule.equals, &rule.contains, &rule.one_of) {
            (Some(value), None, None) => Wants::Equals(value.as_str().into()),
            (None, Some(entry), None) => Wants::OneOf(sorted([entry.clone()].into_iter())),
            (None, None, Some(entries)) if !entries.is_empty() => Wants::OneOf(sorted(entries.iter().cloned())),
            (None, None, Some(_)) => return Err(format!("`one_of` of the rule on `{claim}` is empty")),
            _ => {
                return Err(format!("the rule on `{claim}` needs exactly one of `equals`, `contains` and `one_of`"));
            }
        };
        Ok(Rule { claim: claim.as_str().into(), wants })
    }

    /// The path of its claim.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The values that it takes.
    pub fn wants(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.wants {
            Wants::Equals(value) => std::slice::from_ref(value),
            Wants::OneOf(entries) => entries,
        };
        entries.iter().map(|entry| &**entry)
    }

    pub fn is_met(&self, identity: &Identity) -> bool {
        let Some(said) = identity.at(&self.claim) else { return false };
        match &self.wants {
            Wants::Equals(value) => !Said::is_list(&said) && said.any(|text| text == &**value),
            Wants::OneOf(entries) => said.any(|text| holds(entries, text)),
        }
    }
}

/// An e-mail address that has one reading: one `@`, a plain local part, a domain of ASCII labels.
struct Address<'a> {
    domain: &'a str,
}

impl<'a> Address<'a> {
    fn read(email: &'a str) -> Option<Self> {
        let (local, domain) = email.split_once('@')?;
        // Quoted local parts, comments and display names (RFC 5322 §3.4) are how one address looks like another;
        // `is_domain` refuses a second `@`.
        // Beside ASCII, letters and digits alone: what is invisible or turns the direction is none. Letters that are forms of
        // others (full width, letterlike, ligatures) fold into them for some readers (Unicode NFKC).
        let form = |c: char| matches!(c, '\u{2100}'..='\u{214f}' | '\u{fb00}'..='\u{fb4f}' | '\u{ff00}'..='\u{ffef}');
        let beyond = |c: char| c.is_alphanumeric() && !form(c);
        let in_ascii = |c: char| !c.is_control() && !c.is_whitespace() && !r#""(),:;<>[\]"#.contains(c);
        let plain = |c: char| if c.is_ascii() { in_ascii(c) } else { beyond(c) };
        (!local.is_empty() && local.chars().all(plain) && is_domain(domain)).then_some(Address { domain })
    }
}

/// Whether `text` is an e-mail address that has one reading.
pub fn is_email(text: &str) -> bool {
    Address::read(text).is_some()
}

/// Whether `domain` is labels of ASCII letters, digits and hyphens. Full-width letters and the like would be folded
/// into ASCII by some readers and not by others.
fn is_domain(domain: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

fn sorted(entries: impl Iterator<Item = String>) -> Box<[Box<str>]> {
    let mut all: Vec<Box<str>> = entries.map(String::into_boxed_str).collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

fn holds(sorted: &[Box<str>], text: &str) -> bool {
    sorted.binary_search_by(|entry| (**entry).cmp(text)).is_ok()
}

/// The same without regard to ASCII case. Letters outside ASCII must be equal: folding them makes `K` (Kelvin) a `k`.
fn holds_lowercase(sorted: &[Box<str>], text: &str) -> bool {
    if sorted.is_empty() {
        return false;
    }
    match text.bytes().any(|b| b.is_ascii_uppercase()) {
        true => holds(sorted, &text.to_ascii_lowercase()),
        false => holds(sorted, text),
    }
}

#[cfg(test)]
mod tests;
