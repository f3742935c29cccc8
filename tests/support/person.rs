//! A person's browser as far as HTTP goes: a cookie jar, redirects, and the headers that Chromium sends.
//!
//! Where it matters what a browser makes of an answer, the tests take [`super::browser`] instead.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::Value;

use super::forms::Form;
use super::provider::User;

/// A cookie as a browser keeps it: by host (not port), path and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub host: String,
    pub path: String,
    pub name: String,
    pub value: String,
    /// `none`, `lax` or `strict`; empty where the cookie does not say.
    pub same_site: String,
    pub secure: bool,
}

/// A browser without a window. Clones share the jar: they are tabs.
#[derive(Clone)]
pub struct Person {
    client: Client,
    jar: Arc<Mutex<Vec<Stored>>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    /// The header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The `Set-Cookie` lines.
    pub fn set_cookies(&self) -> Vec<String> {
        let values = self.headers.get_all("set-cookie").into_iter();
        values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
    }

    /// Where it redirects to, resolved as a browser does it; a page that goes on at once counts.
    pub fn location(&self) -> Option<Url> {
        if let Some(target) = self.refresh() {
            return Some(self.url.join(&target).expect("an address"));
        }
        let target = self.headers.get("location")?.to_str().ok()?;
        (300..400).contains(&self.status).then(|| self.url.join(target).expect("a Location"))
    }

    /// The address of `<meta http-equiv="refresh">` without a wait.
    fn refresh(&self) -> Option<String> {
        let page = self.status == 200 && self.header("content-type").starts_with("text/html");
        let text = String::from_utf8_lossy(&self.body);
        let rest = text.split_once("<meta http-equiv=\"refresh\" content=\"0; url=").filter(|_| page)?.1;
        rest.split('"').next().map(super::forms::unescaped)
    }

    /// The first reason code in the body.
    pub fn reason(&self) -> String {
        code_in(&self.text())
    }

    /// The reference of the refusal that it shows, by which log lines and the kept refusal are found: of a page or of JSON.
    #[track_caller]
    pub fn reference(&self) -> String {
        reference_of(&self.text()).unwrap_or_else(|| panic!("no reference: {} {}", self.status, self.text()))
    }

    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{} answered {:#?}\n{}", self.url, self.headers, self.text());
        self
    }
}

/// The reference of a refusal in the source of the gateway's page, or in its JSON.
pub fn reference_of(text: &str) -> Option<String> {
    let starts = ["<dt>Reference</dt><dd class=\"code\">", "reference <span class=\"code\">", "\"reference\":\""];
    let rest = starts.iter().find_map(|start| text.split_once(start))?.1;
    let reference: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (reference.len() == 13).then_some(reference)
}

impl Default for Person {
    fn default() -> Self {
        Self::new()
    }
}

impl Person {
    pub fn new() -> Self {
        Self::with(Client::builder())
    }

    /// With a client of other settings (certificates, protocol); redirects are followed here, not there.
    pub fn with(builder: reqwest::ClientBuilder) -> Self {
        Self::through(builder.no_proxy())
    }

    /// The same with the proxy that `builder` has.
    pub fn through(builder: reqwest::ClientBuilder) -> Self {
        // Shorter than any server here keeps a silent connection: a request that meets the hang-up has no answer.
        let builder = builder.redirect(reqwest::redirect::Policy::none()).pool_idle_timeout(Duration::from_secs(20));
        let client = builder.build().expect("an HTTP client");
        Person { client, jar: Arc::default() }
    }

    /// Another browser that begins with the cookies this one has now.
    pub fn clone_with_own_jar(&self) -> Person {
        let jar = self.jar.lock().expect("jar").clone();
        Person { client: self.client.clone(), jar: Arc::new(Mutex::new(jar)) }
    }

    /// Opens `url` as an address typed or a link clicked; redirects are not followed.
    pub async fn open(&self, url: &str) -> Answer {
        self.request(Method::GET, url, &NAVIGATION, None).await
    }

    /// Opens `url` and follows redirects to the end.
    pub async fn browse(&self, url: &str) -> Answer {
        let answer = self.open(url).await;
        self.follow(answer).await
    }

    /// Follows redirects, as many as a browser would.
    pub async fn follow(&self, mut answer: Answer) -> Answer {
        for _ in 0..20 {
            match answer.location() {
                Some(next) => answer = self.open(next.as_str()).await,
                None => return answer,
            }
        }
        panic!("redirected too often, at last to {}", answer.url);
    }

    /// What a script of the page asks for.
    pub async fn fetch(&self, url: &str) -> Answer {
        self.request(Method::GET, url, &FETCH, None).await
    }

    /// Sends a form.
    pub async fn post(&self, url: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.request(Method::POST, url, &NAVIGATION, Some(body)).await
    }

    /// One request with the jar's cookies.
    pub async fn request(&self, method: Method, url: &str, headers: &[(&str, &str)], form: Option<String>) -> Answer {
        let url = Url::parse(url).expect("a URL");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let cookies = self.cookie_header(&url);
        if !cookies.is_empty() {
            map.append("cookie", HeaderValue::from_str(&cookies).expect("cookies"));
        }
        let mut request = self.client.request(method, url.clone()).headers(map);
        if let Some(form) = form {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        let response = super::in_time(url.as_str(), request.send()).await.unwrap_or_else(|e| panic!("{url}: {e:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|e| panic!("{url}: {e:?}")).to_vec();
        let answer = Answer { url, status, headers, body };
        self.store(&answer);
        answer
    }

    /// Sends the form that `answer` shows, as the script on a provider's page does (`form_post`).
    ///
    /// Towards another host only cookies with `SameSite=None; Secure` go along, and `Origin` is `null` where the page's
    /// address is kept to itself, as providers do. A cookie without `SameSite` counts as Lax: so do Safari's rules and,
    /// after two minutes, Chromium's.
    pub async fn submit(&self, answer: &Answer) -> Answer {
        let form = Form::of(&answer.text()).unwrap_or_else(|| panic!("no form at {}: {}", answer.url, answer.text()));
        let url = answer.url.join(&form.action).expect("an action");
        let cross_site = url.host_str() != answer.url.host_str();
        let hidden: Vec<Stored> =
            if cross_site { self.take_same_site(url.host_str().unwrap_or_default()) } else { vec![] };
        let site = if cross_site { "cross-site" } else { "same-origin" };
        let mut headers = NAVIGATION.to_vec();
        headers.retain(|(name, _)| *name != "sec-fetch-site");
        headers.extend([("sec-fetch-site", site), ("origin", "null")]);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        let answered = self.request(Method::POST, url.as_str(), &headers, Some(body)).await;
        let mut jar = self.jar.lock().expect("jar");
        for old in hidden {
            // What the answer has set or left stands; only what did not travel comes back.
            let same = |c: &Stored| c.host == old.host && c.path == old.path && c.name == old.name;
            let ended = answered.set_cookies().iter().any(|line| line.starts_with(&format!("{}=", old.name)));
            if !ended && !jar.iter().any(same) {
                jar.push(old);
            }
        }
        drop(jar);
        answered
    }

    /// Takes those cookies of a host out of the jar that do not go along with a cross-site POST.
    fn take_same_site(&self, host: &str) -> Vec<Stored> {
        let mut jar = self.jar.lock().expect("jar");
        let stays = |c: &Stored| c.host != host || (c.same_site == "none" && c.secure);
        let taken = jar.iter().filter(|c| !stays(c)).cloned().collect();
        jar.retain(stays);
        taken
    }

    /// Fills in the provider's login form that `answer` shows, and follows to the end.
    pub async fn log_in(&self, answer: &Answer, user: &User) -> Answer {
        assert!(answer.text().contains("name=\"password\""), "no login form at {}: {}", answer.url, answer.text());
        let answer = self.post(answer.url.as_str(), &[("username", user.name), ("password", &user.password)]).await;
        self.follow(answer).await
    }

    /// Opens `url`, signs in as `user` where asked to, and ends at the app.
    pub async fn sign_in(&self, url: &str, user: &User) -> Answer {
        let answer = self.browse(url).await;
        let answer =
            if answer.text().contains("name=\"password\"") { self.log_in(&answer, user).await } else { answer };
        answer.expect(200);
        answer
    }

    /// The `Cookie` header for `url`; empty without cookies.
    pub fn cookie_header(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        let jar = self.jar.lock().expect("jar");
        let mut fitting: Vec<&Stored> =
            jar.iter().filter(|c| c.host == host && path_matches(url.path(), &c.path)).collect();
        fitting.sort_by_key(|c| std::cmp::Reverse(c.path.len()));
        fitting.iter().map(|c| format!("{}={}", c.name, c.value)).collect::<Vec<_>>().join("; ")
    }

    /// The cookies kept for a host, by name.
    pub fn cookies(&self, host: &str) -> Vec<Stored> {
        self.jar.lock().expect("jar").iter().filter(|c| c.host == host).cloned().collect()
    }

    /// The gateway's session cookies, without those of open attempts and the like.
    pub fn session(&self) -> Vec<Stored> {
        let mut all = self.cookies("127.0.0.1");
        all.retain(|c| {
            let rest = c.name.trim_start_matches("__Host-").strip_prefix("doorward");
            rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "._-".contains(c)))
        });
        all
    }

    /// Changes the jar by hand.
    pub fn edit(&self, change: impl FnOnce(&mut Vec<Stored>)) {
        change(&mut self.jar.lock().expect("jar"));
    }

    /// Keeps, replaces and drops cookies as `answer` says.
    fn store(&self, answer: &Answer) {
        let mut jar = self.jar.lock().expect("jar");
        for line in answer.set_cookies() {
            let Ok(cookie) = cookie::Cookie::parse(line) else { continue };
            let default_path =
                answer.url.path().rsplit_once('/').map_or("/", |(dir, _)| if dir.is_empty() { "/" } else { dir });
            let fresh = Stored {
                host: answer.url.host_str().unwrap_or_default().to_owned(),
                path: cookie.path().filter(|p| p.starts_with('/')).unwrap_or(default_path).to_owned(),
                name: cookie.name().to_owned(),
                value: cookie.value().to_owned(),
                same_site: cookie.same_site().map(|s| s.to_string().to_lowercase()).unwrap_or_default(),
                secure: cookie.secure() == Some(true),
            };
            // Chromium does not keep it at all.
            if fresh.same_site == "none" && !fresh.secure {
                continue;
            }
            jar.retain(|c| !(c.host == fresh.host && c.path == fresh.path && c.name == fresh.name));
            let past = cookie.expires_datetime().is_some_and(|at| at <= cookie::time::OffsetDateTime::now_utc());
            let gone = cookie.max_age().map_or(past, |age| age <= cookie::time::Duration::ZERO);
            if !gone {
                jar.push(fresh);
            }
        }
    }
}

/// RFC 6265 §5.1.4.
fn path_matches(path: &str, cookie_path: &str) -> bool {
    path == cookie_path
        || path.strip_prefix(cookie_path).is_some_and(|rest| cookie_path.ends_with('/') || rest.starts_with('/'))
}

/// What Chromium sends with a navigation.
pub const NAVIGATION: [(&str, &str); 5] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0"),
];

/// What Chromium sends with a `fetch()` of the same site.
pub const FETCH: [(&str, &str); 4] =
    [("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")];

/// What Chromium sends for an image of the page.
pub const IMAGE: [(&str, &str); 4] = [
    ("accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-dest", "image"),
    ("sec-fetch-site", "same-origin"),
];

/// What curl sends.
pub const CURL: [(&str, &str); 2] = [("accept", "*/*"), ("user-agent", "curl/8.5.0")];

/// The first reason code in `text`, or nothing. Random words may hold its first letters, too.
pub fn code_in(text: &str) -> String {
    let codes = text.match_indices("DW-").filter_map(|(at, _)| text.get(at..at + 7));
    let mut codes = codes.filter(|code| code.bytes().skip(3).all(|digit| digit.is_ascii_digit()));
    codes.next().unwrap_or_default().to_owned()
}
