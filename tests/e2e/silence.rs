//! A database that goes silent, is cut off, or is slow: every request is answered soon, nothing
//! hangs, and all goes on by itself afterwards.

use invite_tests::{Gateway, invites, person};

#[tokio::test]
async fn a_gateway_works_through_a_proxy_that_was_cut_and_restored() {
    let gateway = Gateway::builder().behind_proxy().start().await;
    let proxy = gateway.proxy.as_ref().unwrap();
    proxy.cut();
    proxy.restore();
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    gateway.finish().await;
}
