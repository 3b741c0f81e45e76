//! The base URL of a service. Whether it may be reached at all is for the configuration crate to say.

use std::fmt;

use url::Url;

use crate::Fault;

/// The pointer of the setting `base_url`.
const POINTER: &str = "/base_url";

/// The URL that all paths of a service are below.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Reads the setting `base_url`. A path in it stays, but for slashes at its end.
    ///
    /// # Errors
    /// What is wrong with it, at `/base_url`.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let fault = |detail| Fault::new(POINTER, "invalid", detail);
        let url = Url::parse(text.trim().trim_end_matches('/'))
            .map_err(|_| fault("this is no URL: expected one such as https://api.example.com"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(fault("expected an https URL with a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault("a URL with a user name or a password is not taken"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault("expected a URL without query and fragment"));
        }
        Ok(Self(url))
    }

    /// The URL without a slash at its end, as destinations name it.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The URL of a path below, which starts with `/` and may have a query.
    pub fn below(&self, path: &str) -> Url {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// The URL of the path that consists of these steps; none if one of them would not stay one step.
    pub fn of_steps(&self, steps: &[&str]) -> Option<Url> {
        let strays =
            |step: &&str| matches!(*step, "" | "." | "..") || step.chars().any(char::is_control);
        let mut url = self.0.clone();
        match url.path_segments_mut() {
            Ok(mut path) if !steps.iter().any(strays) => drop(path.pop_if_empty().extend(steps)),
            _ => return None,
        }
        Some(url)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_below_the_path_of_the_base_url() {
        for (base, path, expected) in [
            ("https://app.rkvst.io", "/v1/invites", "https://app.rkvst.io/v1/invites"),
            ("https://p.example/a/", "/v1?b=c%20d", "https://p.example/a/v1?b=c%20d"),
            // Whatever a path is, it leads to the same host.
            ("https://p.example", "@evil.example/", "https://p.example/@evil.example/"),
        ] {
            assert_eq!(BaseUrl::read(base).unwrap().below(path).as_str(), expected);
        }
    }

    #[test]
    fn a_step_stays_one_step() {
        let url = |base: &str, steps: &[&str]| {
            BaseUrl::read(base).unwrap().of_steps(steps).map(|url| url.to_string())
        };
        let expected = Some("https://p.example/a/events/b%20c%2F%3Fd".to_owned());
        assert_eq!(url("https://p.example/a/", &["events", "b c/?d"]), expected);
        assert_eq!(url("https://p.example", &["e"]), Some("https://p.example/e".to_owned()));
        for stray in ["", ".", "..", "a\nb", "\0"] {
            assert_eq!(url("https://p.example", &["events", stray]), None, "{stray:?}");
        }
    }

    #[test]
    fn a_base_url_that_cannot_be_one_is_refused() {
        for text in [
            "",
            "api.example.org",
            "ftp://api.example.org",
            "https://user:secret@api.example.org",
            "https://api.example.org/?a=b",
            "https://api.example.org/#x",
            "mailto:ada@example.org",
        ] {
            let fault = BaseUrl::read(text).unwrap_err();
            assert_eq!((fault.pointer.as_str(), fault.code.as_str()), (POINTER, "invalid"));
            assert!(!fault.detail.contains("secret"), "{fault:?}");
        }
        let kept = BaseUrl::read("https://api.example.org/prefix//").unwrap();
        assert_eq!(kept.as_str(), "https://api.example.org/prefix");
    }

    #[test]
    fn spelling_makes_no_other_place() {
        for spelled in [
            "https://API.example.org",
            "https://api.example.org/",
            " https://api.example.org:443",
            "HTTPS://api.example.org:443/",
        ] {
            assert_eq!(BaseUrl::read(spelled).unwrap().as_str(), "https://api.example.org");
        }
    }
}
