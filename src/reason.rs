//! Every way the gateway can refuse or fail, each with a stable code, its cause and its remedy.
//!
//! Promise: a code never changes its meaning and is never used again for another. The reason decides
//! the status, the page, the log line and the metric label; no other room invents a status or a text.
//! `docs/reasons.md` and `docs/troubleshooting.md` are generated from the table (`doorward reasons`, `doorward
//! troubleshooting`) and tested to be current.
//!
//! The hundreds say where in the way of a request a code belongs: 1 the request itself, 2 routes and
//! upstreams, 3 signing in, 4 sessions, 5 who may, 6 the provider, 7 configuration and start, 8 programs, 9 what the doctor
//! finds before a request fails of it, and the console (hundred 91).

use std::borrow::Cow;

#[macro_use]
mod requests;
#[macro_use]
mod people;
#[macro_use]
mod operation;
#[macro_use]
mod doctor;
#[macro_use]
mod console;

mod symptoms;

pub use symptoms::troubleshooting;

/// Who most likely reads about a failure, and therefore whom the remedy addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody in front of a browser.
    Person,
    /// Whoever runs the gateway, the provider's registration or the app.
    Admin,
    /// Only a hand-made request gets here.
    Attacker,
}

impl Reader {
    /// The word `docs/reasons.md` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Reader::Person => "person",
            Reader::Admin => "admin",
            Reader::Attacker => "attacker",
        }
    }
}

/// What there is to say about one [`Reason`].
#[derive(Debug)]
pub struct Info {
    /// Stable code, `DW-` and four digits.
    pub code: &'static str,
    /// HTTP status of the answer; 0 where the reason never answers a request.
    pub status: u16,
    pub reader: Reader,
    /// What happened, in a few words: the heading of the page.
    pub title: &'static str,
    /// Why, in a sentence.
    pub cause: &'static str,
    /// What to do about it, in a sentence.
    pub remedy: &'static str,
}

macro_rules! reasons {
    (; $($variant:ident = $code:literal, $status:literal, $reader:ident, $title:literal,
       $cause:literal, $remedy:literal;)*) => {
        /// One way to refuse or fail. See [`Reason::info`] for its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $title] $variant,)* }

        impl Reason {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// Code, status, reader and texts.
            pub fn info(self) -> &'static Info {
                match self {
                    $(Reason::$variant => &Info {
                        code: $code, status: $status, reader: Reader::$reader,
                        title: $title, cause: $cause, remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

requests! { people operation doctor console reasons; }

impl Reason {
    /// Stable code, `DW-` and four digits; also the metric label.
    pub fn code(self) -> &'static str {
        self.info().code
    }

    /// Whether it is about a token or key. The details of such a failure are made for whoever sent it.
    pub fn is_about_credentials(self) -> bool {
        self.code().as_bytes()[3] == b'8'
    }

    /// The one with that code, in capital letters as it is written.
    pub fn with_code(code: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// HTTP status of an answer that this reason causes; reasons that never answer a request are 500.
    pub fn status(self) -> u16 {
        match self.info().status {
            0 => 500,
            status => status,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.info().code, self.info().title)
    }
}

/// A [`Reason`] with what was seen on this occasion: the value an operation fails with.
///
/// `detail` is for the log line and the admin only (expected and got, the provider's own words); it is shown to whoever
/// sent the request only where the reason [is about their credential](Reason::is_about_credentials).
///
/// Where more is known than the table says, [`Failure::remedied`] puts a more exact remedy in the place of the general one:
/// on the page, in the JSON, in the log line and on the console alike. It is shown to everybody, so it holds names of
/// settings and what is public of the deployment, and none of the provider's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub detail: String,
    /// In a box, since few have it and every verdict on its way may hold a failure.
    more: Option<Box<More>>,
}

/// What only some failures have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    remedy: Option<Cow<'static, str>>,
    provider: Option<Box<str>>,
    step: Option<&'static str>,
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Failure { reason, detail: detail.into(), more: None }
    }

    /// With `remedy`, in sentences, instead of the reason's own.
    pub fn remedied(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.more.get_or_insert_default().remedy = Some(remedy.into());
        self
    }

    /// The same where there is one.
    pub fn remedied_by(self, remedy: Option<impl Into<Cow<'static, str>>>) -> Self {
        match remedy {
            Some(remedy) => self.remedied(remedy),
            None => self,
        }
    }

    /// About the provider of that name.
    pub fn of_provider(mut self, name: &str) -> Self {
        self.more.get_or_insert_default().provider.get_or_insert_with(|| name.into());
        self
    }

    /// At that step of several; shown to everybody.
    pub fn at_step(mut self, step: &'static str) -> Self {
        self.more.get_or_insert_default().step.get_or_insert(step);
        self
    }

    /// With `more` at the end of the detail.
    pub fn and_seen(mut self, more: &str) -> Self {
        self.detail.push_str(more);
        self
    }

    /// The same for another reason: what was seen, and what to do about it, stay.
    pub fn renamed(self, reason: Reason) -> Self {
        Failure { reason, ..self }
    }

    /// What to do about it: the exact remedy where there is one, else the reason's.
    pub fn remedy(&self) -> &str {
        self.exact_remedy().unwrap_or(self.reason.info().remedy)
    }

    /// The remedy of this occasion, where it is not the reason's.
    pub fn exact_remedy(&self) -> Option<&str> {
        self.more.as_ref()?.remedy.as_deref()
    }

    /// The step that failed, where it is one of several.
    pub fn step(&self) -> Option<&'static str> {
        self.more.as_ref()?.step
    }

    /// Name of the provider that it is about, where it is about one.
    pub fn provider(&self) -> Option<&str> {
        self.more.as_ref()?.provider.as_deref()
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Failure::new(reason, String::new())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reason)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The page `docs/reasons.md`, whole.
pub fn as_markdown() -> String {
    use std::fmt::Write;
    let mut out = String::from(
        "# Reason codes\n\n<!-- Generated by `doorward reasons`; do not edit. -->\n\n\
         Every refusal and failure has a code. It stands on the page or in the JSON that was answered, in the log\n\
         line with the same reference, and as the `reason` label of the metrics. A code never changes its meaning.\n",
    );
    let sections = [
        ('1', "The request itself"),
        ('2', "Routes and upstreams"),
        ('3', "Signing in"),
        ('4', "Sessions"),
        ('5', "Who may"),
        ('6', "The provider"),
        ('7', "Configuration and start"),
        ('8', "Programs"),
        ('9', "The doctor and the console"),
    ];
    for (digit, heading) in sections {
        let _ = write!(
            out,
            "\n## {heading}\n\n| code | status | for | what happened | cause | remedy |\n|---|---|---|---|---|---|\n"
        );
        for info in Reason::ALL.iter().map(|r| r.info()).filter(|i| i.code.as_bytes()[3] as char == digit) {
            let status = if info.status == 0 { "–".to_owned() } else { info.status.to_string() };
            let _ = writeln!(
                out,
                "| <a id=\"{}\"></a>{} | {} | {} | {} | {} | {} |",
                info.code.to_lowercase(),
                info.code,
                status,
                info.reader.as_str(),
                info.title,
                info.cause,
                info.remedy
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_well_formed() {
        let codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert!(codes.windows(2).all(|w| w[0] < w[1]), "codes must rise: {codes:?}");
        for code in codes {
            assert!(code.len() == 7 && code.starts_with("DW-") && code[3..].bytes().all(|b| b.is_ascii_digit()));
        }
    }

    #[test]
    fn an_exact_remedy_stands_in_the_place_of_the_general_one() {
        let general = Failure::new(Reason::ClientRefused, "seen");
        assert_eq!(general.remedy(), Reason::ClientRefused.info().remedy);
        let exact = general.clone().remedied("Set it.").of_provider("main");
        assert_eq!((exact.remedy(), exact.provider()), ("Set it.", Some("main")));
    }

    #[test]
    fn every_reason_says_cause_and_remedy_in_sentences() {
        for info in Reason::ALL.iter().map(|r| r.info()) {
            assert!(info.cause.ends_with('.') && info.remedy.ends_with('.'), "{}", info.code);
            assert!(!info.title.ends_with('.'), "{}", info.code);
        }
    }
}
