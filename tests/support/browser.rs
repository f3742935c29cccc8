//! Debian's Chromium without a window, driven through its own debugging protocol.
//!
//! Every [`Browser`] is a person with a profile of their own. Console messages and requests of each tab are kept.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chromiumoxide::browser::{Browser as Chromium, BrowserConfig};
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams, SetEmulatedMediaParams,
};
use chromiumoxide::cdp::browser_protocol::log::EventEntryAdded;
use chromiumoxide::cdp::browser_protocol::network::{Cookie, EventResponseReceived};
use chromiumoxide::cdp::browser_protocol::page::CaptureScreenshotFormat;
use chromiumoxide::page::{Page, ScreenshotParams};
use futures::StreamExt;
use tempfile::TempDir;

use super::provider::User;
use super::{artifact, eventually, in_time};

const CHROMIUM: &str = "/usr/bin/chromium";
const FLAGS: [&str; 8] = [
    // Else keys and clicks are thrown away until a page was painted for the first time.
    "allow-pre-commit-input",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
];

/// A Chromium with a fresh profile; it is killed when dropped.
pub struct Browser {
    chromium: Chromium,
    _profile: TempDir,
}

/// One tab.
pub struct Tab {
    pub page: Page,
    console: Arc<Mutex<Vec<String>>>,
    responses: Arc<Mutex<Vec<(i64, String)>>>,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(None, &[]).await
    }

    /// A browser that keeps cookies of pages inside other sites' pages. Chromium without a window does not by itself.
    pub async fn start_with_third_party_cookies() -> Self {
        let preferences = r#"{"profile":{"block_third_party_cookies":false,"cookie_controls_mode":0}}"#;
        Self::start_with(Some(preferences), &[]).await
    }

    /// A browser whose person has told it to keep no cookies.
    pub async fn start_without_cookies() -> Self {
        Self::start_with(Some(r#"{"profile":{"default_content_setting_values":{"cookies":2}}}"#), &[]).await
    }

    /// A browser that keeps no cookies of pages inside other sites' pages, as Safari and Firefox do by default.
    pub async fn start_without_third_party_cookies() -> Self {
        let preferences = r#"{"profile":{"block_third_party_cookies":true,"cookie_controls_mode":1}}"#;
        Self::start_with(Some(preferences), &["test-third-party-cookie-phaseout"]).await
    }

    /// A browser that takes the certificates with these keys ([`super::tls::Leaf::fingerprint`]) for good.
    pub async fn start_trusting(fingerprints: &[&str]) -> Self {
        let list = format!("ignore-certificate-errors-spki-list={}", fingerprints.join(","));
        Self::start_with(None, &[&list]).await
    }

    /// A browser with further flags of Chromium's command line, without their dashes.
    pub async fn start_with_flags(flags: &[&str]) -> Self {
        Self::start_with(None, flags).await
    }

    async fn start_with(preferences: Option<&str>, flags: &[&str]) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        if let Some(preferences) = preferences {
            let folder = profile.path().join("Default");
            std::fs::create_dir_all(&folder).expect("the profile");
            std::fs::write(folder.join("Preferences"), preferences).expect("the preferences");
        }
        let config = BrowserConfig::builder()
            .chrome_executable(CHROMIUM)
            .user_data_dir(profile.path())
            // What a browser leaves behind when it is killed goes with the profile.
            .env("TMPDIR", profile.path().to_string_lossy())
            .new_headless_mode()
            .no_sandbox()
            .disable_https_first()
            .window_size(1000, 800)
            .viewport(None)
            .launch_timeout(super::PATIENCE)
            .request_timeout(super::PATIENCE)
            .args(FLAGS)
            .args(flags.iter().map(ToString::to_string))
            .build()
            .expect("a browser configuration");
        let (chromium, mut handler) = Chromium::launch(config).await.expect("Chromium starts");
        tokio::spawn(async move { while handler.next().await.is_some() {} });
        Browser { chromium, _profile: profile }
    }

    /// Opens `url` in a new tab, and waits until it is loaded.
    pub async fn tab(&self, url: &str) -> Tab {
        let page = in_time("a tab", self.chromium.new_page("about:blank")).await.expect("a tab");
        let (console, responses) = (Arc::default(), Arc::default());
        let tab = Tab { page, console, responses };
        tab.listen().await;
        tab.go(url).await;
        tab
    }

    /// All cookies of the profile.
    pub async fn cookies(&self) -> Vec<Cookie> {
        self.chromium.get_cookies().await.expect("cookies")
    }

    pub async fn clear_cookies(&self) {
        self.chromium.clear_cookies().await.expect("clear cookies");
    }
}

impl Tab {
    async fn listen(&self) {
        self.page.enable_log().await.expect("the log");
        let mut entries = self.page.event_listener::<EventEntryAdded>().await.expect("the log");
        let console = Arc::clone(&self.console);
        tokio::spawn(async move {
            while let Some(event) = entries.next().await {
                let url = event.entry.url.clone().unwrap_or_default();
                console.lock().expect("console").push(format!("{} {url}", event.entry.text));
            }
        });
        let mut answers = self.page.event_listener::<EventResponseReceived>().await.expect("the network");
        let responses = Arc::clone(&self.responses);
        tokio::spawn(async move {
            while let Some(event) = answers.next().await {
                responses.lock().expect("responses").push((event.response.status, event.response.url.clone()));
            }
        });
    }

    /// What the console shows: errors of scripts, of the content security policy, of requests.
    pub fn console(&self) -> Vec<String> {
        self.console.lock().expect("console").clone()
    }

    /// Waits for an answer with this status whose address fulfils `wanted`.
    pub async fn wait_for_response(&self, status: i64, wanted: impl Fn(&str) -> bool) {
        eventually(&format!("an answer with status {status}"), || async {
            self.responses().iter().any(|(had, url)| *had == status && wanted(url)).then_some(())
        })
        .await;
    }

    /// Status and address of every answer so far, as far as the browser has told of it yet.
    pub fn responses(&self) -> Vec<(i64, String)> {
        self.responses.lock().expect("responses").clone()
    }

    /// Types an address and waits until the page is loaded.
    pub async fn go(&self, url: &str) {
        in_time(url, self.page.goto(url)).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    pub async fn url(&self) -> String {
        in_time("the address", self.page.url()).await.ok().flatten().unwrap_or_default()
    }

    /// Waits until the address fulfils `wanted` and scripts run in the page that is there, and tells it.
    pub async fn wait_for_url(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(&format!("{what} in the address bar"), || async {
            let url = Some(self.url().await).filter(|url| wanted(url))?;
            // The address changes first: until the page is there, a script has none to run in.
            let read = self.script("document.readyState !== 'loading'").await == true;
            (read && self.url().await == url).then_some(url)
        })
        .await
    }

    /// Waits until a JavaScript expression has this value: what the browser does in its own time, as giving the focus.
    pub async fn wait_for_script(&self, expression: &str, value: impl Into<serde_json::Value>) {
        let value = value.into();
        eventually(&format!("{value} of {expression}"), || async {
            (self.script(expression).await == value).then_some(())
        })
        .await;
    }

    /// Waits until the page shows an element.
    pub async fn wait_for(&self, selector: &str) {
        eventually(&format!("{selector} on the page"), || async {
            self.page.find_element(selector).await.ok().map(drop)
        })
        .await;
    }

    /// Waits until the page's text holds `text`.
    pub async fn wait_for_text(&self, text: &str) -> String {
        eventually(&format!("{text:?} on the page"), || async { Some(self.text().await).filter(|t| t.contains(text)) })
            .await
    }

    /// Types into the field that `selector` names.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let _ = in_time("the tab in front", self.page.bring_to_front()).await;
        let value = format!("document.querySelector({selector:?}).value");
        // Until the field has it: the page may be exchanged for the next one in between.
        eventually(&format!("{selector} takes what is typed"), || async {
            let field = self.page.find_element(selector).await.ok()?;
            // Not by key presses: a password's umlaut has no key.
            field.focus().await.ok()?;
            let insert = chromiumoxide::cdp::browser_protocol::input::InsertTextParams::new(text);
            self.page.execute(insert).await.ok()?;
            self.script(&value).await.as_str()?.contains(text).then_some(())
        })
        .await;
    }

    /// Clicks on the element that `selector` names.
    pub async fn click(&self, selector: &str) {
        // A tab in the background is not laid out, and a click there waits for ever.
        let _ = in_time("the tab in front", self.page.bring_to_front()).await;
        // Until there is a place for the click: the page may be exchanged for the next one in between.
        let place = eventually(&format!("{selector} on the page"), || async {
            let element = self.page.find_element(selector).await.ok()?;
            element.scroll_into_view().await.ok()?.clickable_point().await.ok()
        })
        .await;
        in_time("the click", self.page.click(place)).await.unwrap_or_else(|e| panic!("click on {selector}: {e}"));
    }

    /// Clicks on what leads to another page, a link or the button of a form, and waits until that is there: what is read of
    /// the tab from then on is not of the page before, even where both look alike.
    pub async fn follow(&self, selector: &str) {
        eventually("a page to mark", || async {
            (self.script("document.readyState === 'complete' && (window.markedByTheBench = true)").await == true)
                .then_some(())
        })
        .await;
        self.click(selector).await;
        eventually(&format!("the page behind {selector}"), || async {
            (self.script("document.readyState === 'complete' && !window.markedByTheBench").await == true).then_some(())
        })
        .await;
    }

    /// The text that the page shows; nothing while parts of it are still to come.
    pub async fn text(&self) -> String {
        let shown = "document.body && document.readyState !== 'loading' ? document.body.innerText : ''";
        self.script(shown).await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn html(&self) -> String {
        in_time("the page's source", self.page.content()).await.unwrap_or_default()
    }

    /// The value of a JavaScript expression; null while a navigation has taken the page away.
    pub async fn script(&self, expression: &str) -> serde_json::Value {
        let result = in_time("a script", self.page.evaluate(expression)).await;
        result.ok().and_then(|r| r.value().cloned()).unwrap_or_default()
    }

    /// Waits for the provider's login form, fills it in and sends it.
    pub async fn log_in(&self, user: &User) {
        self.type_into("input[name=username]", user.name).await;
        self.type_into("input[name=password]", &user.password).await;
        self.click("button[type=submit]").await;
    }

    /// Presses a key (`Tab`, `Enter`) wherever the focus is.
    pub async fn press(&self, key: &str) {
        use chromiumoxide::cdp::browser_protocol::input::{DispatchKeyEventParams, DispatchKeyEventType};
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Tab" => (9, None),
            _ => panic!("no such key: {key}"),
        };
        let _ = in_time("the tab in front", self.page.bring_to_front()).await;
        let down = if text.is_some() { DispatchKeyEventType::KeyDown } else { DispatchKeyEventType::RawKeyDown };
        for kind in [down, DispatchKeyEventType::KeyUp] {
            let mut event = DispatchKeyEventParams::new(kind);
            (event.key, event.code) = (Some(key.into()), Some(key.into()));
            event.windows_virtual_key_code = Some(code);
            event.native_virtual_key_code = Some(code);
            event.text = text.map(Into::into);
            self.page.execute(event).await.expect("a key");
        }
    }

    /// The back button.
    pub async fn back(&self) {
        self.script("history.back()").await;
    }

    /// Dark or light, as the person's system is set.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let feature = MediaFeature::new("prefers-color-scheme", value);
        let params = SetEmulatedMediaParams::builder().features([feature]).build();
        self.page.execute(params).await.expect("emulated media");
    }

    /// A screen of this size.
    pub async fn screen(&self, width: i64, height: i64, mobile: bool) {
        let params = SetDeviceMetricsOverrideParams::new(width, height, if mobile { 2.0 } else { 1.0 }, mobile);
        self.page.execute(params).await.expect("the screen's size");
        // A phone makes room for what is too wide; it is the page's fault then, and not awaited here.
        if !mobile {
            let there = format!("innerWidth === {width} && innerHeight === {height}");
            eventually("the screen's size", || async { (self.script(&there).await == true).then_some(()) }).await;
        }
    }

    /// Judges the page by a script that tells its faults, until it tells none: while the page takes on another size or another
    /// colour it may have some. What faults remain.
    pub async fn faults(&self, script: &str) -> serde_json::Value {
        let end = tokio::time::Instant::now() + super::PATIENCE / 4;
        loop {
            let faults = self.script(script).await;
            if faults == serde_json::json!([]) || tokio::time::Instant::now() > end {
                return faults;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Keeps a picture of the page as `tests/artifacts/NAME.png`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let path = artifact(&format!("{name}.png"));
        // A picture taken while the browser changes from one page to the next is refused; the next one is not.
        super::eventually(&format!("the picture {name}"), || async {
            let params = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
            self.page.save_screenshot(params, &path).await.ok()
        })
        .await;
        path
    }
}
