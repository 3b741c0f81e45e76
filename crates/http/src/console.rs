//! The console: a page, scripts and styles that are part of the binary. It is a client of the API
//! like any other and uses its reader's key; nothing here knows what it shows.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Allows what comes from here, and nothing inline or evaluated.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($kind:ident: $($name:literal)*;)*) => {
        &[$($(File { name: $name, kind: $kind, text: include_str!(concat!("../console/", $name)) },)*)*]
    };
}

/// Every file, by its name under `/console/`.
const FILES: &[File] = files! {
    HTML: "index.html";
    STYLE: "style.css" "pages.css";
    IMAGE: "icon.svg";
    SCRIPT: "action.js" "action-kinds.js" "action-start.js" "api.js" "app.js" "audit.js" "chart.js" "configuration.js"
        "dialog.js" "diff.js" "dom.js" "editor.js" "invite-actions.js" "invite.js" "invites.js" "keys.js" "notices.js" "overview.js" "probe.js" "problem.js"
        "provider.js" "provider-choice.js" "providers.js" "reading.js" "revisions.js" "signin.js" "starting.js"
        "time.js" "webhook.js" "webhook-form.js" "webhooks.js";
};

/// A file of the console; the page if no name is given.
pub(crate) async fn get_console(
    path: Option<Path<String>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = path.map_or_else(|| "index.html".to_owned(), |Path(name)| name);
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| Problem::not_found("page"))?;
    let tag = format!("\"{}\"", base16ct::lower::encode_string(&Sha256::digest(file.text)));
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known.filter_map(|value| value.to_str().ok()).any(|tags| tags.contains(&tag));
    let about: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, file.kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // The browser keeps the files and asks each time whether they changed, since those of one
        // version belong together.
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, &tag),
    ];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, file.text).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::HeaderValue;

    use super::*;

    async fn get(name: Option<&str>, tag: Option<&HeaderValue>) -> Result<Response, Problem> {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            headers.insert(header::IF_NONE_MATCH, tag.clone());
        }
        get_console(name.map(|name| Path(name.to_owned())), headers).await
    }

    #[tokio::test]
    async fn the_page_comes_with_a_policy_that_lets_the_browser_ask_no_other_host() {
        let page = get(None, None).await.unwrap();
        assert_eq!(page.headers()[header::CONTENT_TYPE], HTML);
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"));
        assert!(["unsafe", "*", "http", "data:"].iter().all(|word| !policy.contains(word)));
        assert_eq!(page.headers()[header::REFERRER_POLICY], "no-referrer");
    }

    #[tokio::test]
    async fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = get(Some("app.js"), None).await.unwrap();
        let tag = &first.headers()[header::ETAG];
        assert_eq!(get(Some("app.js"), Some(tag)).await.unwrap().status(), 304);
        assert_eq!(get(Some("api.js"), Some(tag)).await.unwrap().status(), 200);
        let refusal = get(Some("../Cargo.toml"), None).await.unwrap_err();
        assert_eq!(refusal.code(), "not-found");
    }

    #[test]
    fn every_file_of_the_folder_is_part_of_the_binary() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let there = std::fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> =
            there.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(there, FILES.iter().map(|file| file.name.to_owned()).collect());
    }

    #[test]
    fn no_script_makes_elements_of_text_and_no_file_names_another_host() {
        let forbidden = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for file in FILES {
            for word in forbidden {
                assert!(!file.text.contains(word), "{}: {word}", file.name);
            }
            let addresses = file.text.matches("://").count();
            let names_of_formats = file.text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(addresses, names_of_formats, "{}", file.name);
        }
    }
}
