//! A real browser: Debian's Chromium, driven through its ChromeDriver, which a test starts for itself.
//! It keeps what the page complained of and every address that it asked for.

use std::path::PathBuf;
use std::process::Stdio;

use invite_tests::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::{
    By, ChromiumLikeCapabilities, DesiredCapabilities, Key, WebDriver, WebElement,
    error::WebDriverResult,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Headless, and without what Chromium does of its own accord on the network.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
];

/// A browser with one tab.
pub struct Browser {
    /// For what has no word of its own here.
    pub driver: WebDriver,
    process: Child,
    _profile: TempDir,
    /// Where pages may be asked for.
    own: String,
    name: &'static str,
    shots: u32,
}

impl Browser {
    /// Opens a page of the gateway at `url`. Screenshots are kept under the test's name.
    pub async fn open(name: &'static str, url: &str, path: &str) -> Self {
        // Fails only if it was done before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (process, port) = start_driver().await;
        let profile = tempfile::Builder::new().prefix("invite-browser-").tempdir().unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        wanted.set_logging_prefs("browser", LoggingPrefsLogLevel::All).unwrap();
        wanted.set_logging_prefs("performance", LoggingPrefsLogLevel::All).unwrap();
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await;
        let driver = driver.expect("Chromium does not start");
        let own = url.to_owned();
        let browser = Self { driver, process, _profile: profile, own, name, shots: 0 };
        browser.resize(1280, 900).await;
        browser.driver.goto(format!("{url}{path}")).await.unwrap();
        browser
    }

    /// Makes the window so large, in pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        // A window cannot be as narrow as a phone, what is drawn in it can.
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size).await.unwrap();
    }

    /// The first element that a CSS selector finds and that can be seen, once there is one.
    pub async fn find(&self, css: &str) -> WebElement {
        eventually(&format!("the page shows {css}"), async || {
            let all = self.driver.find_all(By::Css(css)).await.ok()?;
            first_visible(all).await
        })
        .await
    }

    /// Whether a CSS selector finds anything now, seen or not.
    pub async fn has(&self, css: &str) -> bool {
        self.driver.find_all(By::Css(css)).await.is_ok_and(|found| !found.is_empty())
    }

    /// The first element within those of `css` whose text has these words, once there is one.
    pub async fn find_with_text(&self, css: &str, words: &str) -> WebElement {
        eventually(&format!("the page shows {css} with `{words}`"), async || {
            let mut fitting = Vec::new();
            for element in self.driver.find_all(By::Css(css)).await.ok()? {
                if element.text().await.ok()?.contains(words) {
                    fitting.push(element);
                }
            }
            first_visible(fitting).await
        })
        .await
    }

    /// Presses what has these words on it: a button or a link.
    pub async fn press(&self, words: &str) {
        eventually(&format!("`{words}` can be pressed"), async || {
            let mut fitting = Vec::new();
            for element in self.driver.find_all(By::Css("button, a, summary")).await.ok()? {
                if element.text().await.ok()?.trim() == words {
                    fitting.push(element);
                }
            }
            first_visible(fitting).await?.click().await.ok()
        })
        .await;
    }

    /// Goes on with the Tab key until what has these words on it has the focus, and uses it.
    pub async fn tab_to(&self, words: &str) {
        self.tab_until(words, async |at| at.text().await.is_ok_and(|text| text.trim() == words))
            .await
            .send_keys(Key::Enter + "")
            .await
            .unwrap();
    }

    /// Goes on with the Tab key until what has the focus is as wanted.
    pub async fn tab_until(
        &self,
        what: &str,
        is_wanted: impl AsyncFn(&WebElement) -> bool,
    ) -> WebElement {
        for _ in 0..60 {
            let at = self.driver.active_element().await.unwrap();
            if is_wanted(&at).await {
                return at;
            }
            at.send_keys(Key::Tab + "").await.unwrap();
        }
        panic!("the Tab key never comes to {what}");
    }

    /// Waits until the page says so.
    pub async fn reads(&self, words: &str) {
        eventually(&format!("the page says `{words}`"), async || {
            self.text().await.contains(words).then_some(())
        })
        .await;
    }

    /// Waits until the page has what it asked the gateway for.
    pub async fn settles(&self) {
        eventually("the page is drawn", async || {
            let text = self.text().await;
            (!["Asking the gateway…", "Searching…", "Reading the live"]
                .iter()
                .any(|open| text.contains(open)))
            .then_some(())
        })
        .await;
    }

    /// What the page says.
    pub async fn text(&self) -> String {
        match self.driver.find(By::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Replaces what a field holds, as typing would.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        // Typing a whole document key by key takes long, and an editor may add to it on its own.
        let script = "const [field, text] = arguments; field.focus(); field.value = text; \
                      field.dispatchEvent(new Event('input', { bubbles: true })); \
                      field.dispatchEvent(new Event('change', { bubbles: true }));";
        let field = field.to_json().unwrap();
        self.driver.execute(script, vec![field, json!(text)]).await.unwrap();
    }

    /// Keeps a picture of the page as it is, in `target/console`.
    pub async fn shoot(&mut self, what: &str) {
        self.shots += 1;
        let folder = artifacts();
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}-{:02}-{what}.png", self.name, self.shots));
        self.driver.screenshot(&path).await.unwrap();
    }

    /// What an accessibility checker (axe-core, WCAG 2.2 A and AA) finds on the page as it is.
    pub async fn accessibility_faults(&self) -> Vec<String> {
        let source = std::fs::read_to_string(axe()).unwrap();
        self.driver.execute(source, Vec::new()).await.unwrap();
        let script = "const done = arguments[arguments.length - 1]; \
                      axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', \
                      'wcag22aa', 'best-practice'] }).then(found => done(found.violations.map(v => \
                      `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.target).join(', ')}`)), \
                      error => done([String(error)]));";
        let found = self.driver.execute_async(script, Vec::new()).await.unwrap();
        found.convert().unwrap()
    }

    /// Whether the page is wider than the window.
    pub async fn is_too_wide(&self) -> bool {
        let script = "return document.documentElement.scrollWidth > window.innerWidth;";
        self.driver.execute(script, Vec::new()).await.unwrap().convert().unwrap()
    }

    /// Makes the page believe that its reader prefers `dark` or `light`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await.unwrap();
    }

    /// Takes the network away from the page, or gives it back.
    pub async fn unplug(&self, is_away: bool) {
        let conditions = json!({ "offline": is_away, "latency": 0, "downloadThroughput": -1,
            "uploadThroughput": -1 });
        self.command("Network.emulateNetworkConditions", conditions).await.unwrap();
    }

    /// Presses the key `Escape` where the focus is.
    pub async fn escape(&self) {
        self.driver.action_chain().send_keys(Key::Escape + "").perform().await.unwrap();
    }

    async fn command(&self, method: &str, parameters: Value) -> WebDriverResult<Value> {
        self.driver.cdp().send_raw(method, parameters).await
    }

    /// Closes it, and fails if the page complained or asked anybody but its own host. A status of
    /// 400 and above is a complaint, unless the test expects that one.
    pub async fn close(self, expected: &[u16]) {
        let own = self.own.clone();
        let complaints: Vec<String> = self
            .driver
            .browser_log()
            .await
            .unwrap()
            .into_iter()
            .filter(|entry| entry.level == "SEVERE" || entry.level == "WARNING")
            .map(|entry| entry.message)
            // Only a test takes the network away.
            .filter(|message| !message.contains("net::ERR_INTERNET_DISCONNECTED"))
            .filter(|message| {
                !expected.iter().any(|status| message.contains(&format!("status of {status} ")))
            })
            .collect();
        assert!(complaints.is_empty(), "the page complained: {complaints:#?}");
        let log = self.driver.get_log("performance").await.unwrap();
        let asked: Vec<String> = log.iter().filter_map(|entry| asked_for(&entry.message)).collect();
        assert!(asked.iter().any(|url| url.starts_with(&own)), "the log of requests is empty");
        let strange: Vec<&String> = asked
            .iter()
            .filter(|url| !url.starts_with(&format!("{own}/")) && !is_of_the_browser(url))
            .collect();
        assert!(strange.is_empty(), "other hosts were asked: {strange:?}");
    }
}

impl Drop for Browser {
    /// Ends the driver and the browser that it started, also when a test has failed.
    fn drop(&mut self) {
        // It would wait for a driver that is gone.
        let _ = self.driver.clone().leak();
        if let Some(id) = self.process.id() {
            let group = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn first_visible(elements: Vec<WebElement>) -> Option<WebElement> {
    for element in elements {
        if element.is_displayed().await.unwrap_or(false) {
            return Some(element);
        }
    }
    None
}

/// The address of a request, from an entry of the performance log.
fn asked_for(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    let message = &message["message"];
    if message["method"] != "Network.requestWillBeSent" {
        return None;
    }
    message["params"]["request"]["url"].as_str().map(str::to_owned)
}

/// What is made within the browser and leaves it never.
fn is_of_the_browser(url: &str) -> bool {
    ["data:", "blob:", "chrome:", "about:", "devtools:"].iter().any(|own| url.starts_with(own))
}

/// Where pictures are kept.
fn artifacts() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(3).unwrap().join("console")
}

#[expect(clippy::disallowed_methods, reason = "tests/run says where it put the checker")]
fn axe() -> PathBuf {
    let path = std::env::var_os("AXE_JS");
    path.expect("AXE_JS names no accessibility checker (axe.min.js): run tests/run").into()
}

/// ChromeDriver on a port of its own choice. It ends if another process has that port for the other version of IP.
async fn start_driver() -> (Child, u16) {
    for _ in 0..5 {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut process =
            command.spawn().expect("chromedriver is missing: run tests/run, which installs it");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let started = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return Some(port.trim_end_matches('.').parse().unwrap());
                }
            }
            None
        };
        let started = tokio::time::timeout(PATIENCE, started).await;
        if let Some(port) = started.expect("chromedriver does not start") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (process, port);
        }
    }
    panic!("chromedriver ended without naming its port")
}
