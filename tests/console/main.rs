//! The console in a real browser, before a real gateway with the simulated providers behind it.
//! Pictures of what was seen are kept in `target/console`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is missing"
)]

mod acting;
mod browser;
mod configuring;
mod invites;
mod keys;
mod looking;
mod webhooks;

use browser::Browser;
use invite_tests::{Client, Gateway};

/// A tab that an administrator has signed in with, at a page of the console.
async fn sign_in(name: &'static str, gateway: &Gateway, admin: &Client, page: &str) -> Browser {
    let browser = Browser::open(name, &gateway.url(), &format!("/console/#/{page}")).await;
    browser.fill("input[name=key]", &admin.key()).await;
    browser.press("Sign in").await;
    browser.find("#sign-out").await;
    browser
}
