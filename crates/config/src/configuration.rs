//! A document that passed the gate: its providers, built, and where an invite goes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use invite_core::{
    Address, Fault, InviteProvider, Limits, ProviderKind, RouteTaken, schema::nearest,
};
use serde_json::Value;

use crate::{
    Accounts, Finding, SecretChange, Severity, document::Document, routes::Route,
    schema::settings_of, secret::SecretFile,
};

/// A provider as one document configures it.
#[derive(Clone)]
pub struct Provider {
    /// Its name in the document.
    pub name: String,
    /// What kind of provider it is.
    pub kind: Arc<ProviderKind>,
    /// If false, it takes no new invites, and finishes those that it has.
    pub enabled: bool,
    /// Its limits; `max_batch` is 1 where one call takes one invite.
    pub limits: Limits,
    /// What makes its calls.
    pub adapter: Arc<dyn InviteProvider>,
    /// The revision of the document; 0 before it has one.
    pub revision: i64,
    /// The revision since which kind and settings, and so the adapter, are the same.
    pub adapter_since: i64,
    /// The revision since which it is the same account; see
    /// [`ProviderKind::account_settings`].
    pub account_since: i64,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("kind", &self.kind.name)
            .field("enabled", &self.enabled)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A document that passed the gate. It does not change, but its secrets are read again.
pub struct Configuration {
    text: String,
    document: Value,
    revision: i64,
    providers: Vec<Arc<Provider>>,
    by_name: HashMap<String, usize>,
    routes: Vec<Route>,
    route_by_name: HashMap<String, usize>,
    secret_files: Vec<(String, Arc<SecretFile>)>,
}

/// Where an invite goes.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The route that leads there; none if the provider is named itself.
    pub route: Option<RouteTaken>,
}

/// Why an invite goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It does not say where to, and no route is for it.
    #[error("no route is for this invite: name a provider or a route in `to`")]
    NoRoute,
    /// It names something that is neither a provider nor a route.
    #[error("`to` names neither a provider nor a route")]
    Unknown {
        /// The name.
        name: String,
        /// Its place in `to`.
        index: usize,
    },
}

impl Configuration {
    /// The gate has made sure that `routes` lead only to `providers`.
    pub(crate) fn new(
        text: &str,
        document: Value,
        providers: Vec<Arc<Provider>>,
        routes: Vec<Route>,
        secret_files: Vec<(String, Arc<SecretFile>)>,
    ) -> Self {
        let by_name = providers.iter().enumerate().map(|(i, p)| (p.name.clone(), i)).collect();
        let named = |(i, route): (usize, &Route)| Some((route.name.clone()?, i));
        let route_by_name = routes.iter().enumerate().filter_map(named).collect();
        let (text, revision) = (text.to_owned(), 0);
        Self { text, document, revision, providers, by_name, routes, route_by_name, secret_files }
    }

    /// The configuration with its number as a revision, which it gets before it goes live.
    pub fn with_revision(mut self, revision: i64) -> Self {
        let since = |known: i64| if known == 0 { revision } else { known };
        for provider in &mut self.providers {
            let provider = Arc::make_mut(provider);
            provider.revision = revision;
            provider.adapter_since = since(provider.adapter_since);
            provider.account_since = since(provider.account_since);
        }
        Self { revision, ..self }
    }

    /// The configuration as the successor of the one in force: a provider whose kind and settings are the same keeps its
    /// adapter, with its tokens, the counters of its credential and the secrets that are read again.
    pub fn adopting(mut self, live: &Self) -> Self {
        let (accounts, before) = (self.accounts(), live.accounts());
        for provider in &mut self.providers {
            let Some(kept) = live.provider(&provider.name) else { continue };
            let provider = Arc::make_mut(provider);
            if accounts.share(&before, &provider.name) {
                provider.account_since = kept.account_since;
            }
            if !is_same_adapter(&self.document, &live.document, &provider.name) {
                continue;
            }
            provider.adapter = kept.adapter.clone();
            provider.adapter_since = kept.adapter_since;
            let own = |(name, _): &&(String, _)| *name == provider.name;
            self.secret_files.retain(|file| !own(&file));
            self.secret_files.extend(live.secret_files.iter().filter(own).cloned());
        }
        self
    }

    /// The accounts of its providers.
    pub fn accounts(&self) -> Accounts {
        let kinds: Vec<_> = self.providers.iter().map(|provider| provider.kind.clone()).collect();
        Accounts::of(&self.document, &kinds)
    }

    /// The providers that are added, removed or in any way changed since `live`.
    pub fn changed_since(&self, live: &Self) -> Vec<String> {
        let names = |document: &Self| document.providers.iter().map(|p| p.name.clone()).collect();
        let (here, there): (Vec<_>, Vec<_>) = (names(self), names(live));
        let removed = there.into_iter().filter(|name| self.provider(name).is_none());
        let is_changed =
            |name: &String| part_of(&self.document, name) != part_of(&live.document, name);
        here.iter().cloned().chain(removed).filter(is_changed).collect()
    }

    /// A finding with the place of its fault in the text, for what the gate cannot know.
    pub fn finding(&self, severity: Severity, fault: Fault) -> Finding {
        // It can always be parsed, as the configuration was made from it.
        match Document::parse(&self.text) {
            Ok(document) => document.finding(severity, fault),
            Err(_) => Finding::unplaced(severity, fault),
        }
    }

    /// Its number as a revision; 0 before it has one.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The document, byte for byte as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The document as JSON. It must not be shown, as with a provider on loopback it may hold literal secrets.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The providers, in the order of the document.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.iter()
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.by_name.get(name).map(|index| &self.providers[*index])
    }

    /// The providers that an invite goes to, each once, in the order in which they are named, also those that are not enabled.
    /// `to` are the names of providers and routes that the invite or its request gives; with `None` the first route decides
    /// that is for such an invite.
    ///
    /// # Errors
    /// The first name in `to` that is unknown; `NoRoute` if no route is for the invite, or `to` is empty.
    pub fn route(
        &self,
        to: Option<&[String]>,
        labels: &BTreeMap<String, String>,
        address: &Address,
    ) -> Result<Vec<Chosen>, RouteError> {
        let mut taken = HashSet::new();
        let mut chosen = Vec::new();
        let mut choose = |names: &[String], rule: Option<usize>| {
            let places = names.iter().filter_map(|name| self.by_name.get(name));
            chosen.extend(places.filter(|place| taken.insert(**place)).map(|place| Chosen {
                provider: self.providers[*place].clone(),
                route: rule.map(|rule| RouteTaken { rule, name: self.routes[rule].name.clone() }),
            }));
        };
        let rule = match to {
            Some(names) => {
                for (index, name) in names.iter().enumerate() {
                    match self.route_by_name.get(name) {
                        _ if self.by_name.contains_key(name) => {
                            choose(std::slice::from_ref(name), None);
                        }
                        Some(rule) => choose(&self.routes[*rule].to, Some(*rule)),
                        None => return Err(RouteError::Unknown { name: name.clone(), index }),
                    }
                }
                None
            }
            None => self.routes.iter().position(|route| route.is_for(labels, address)),
        };
        if let Some(rule) = rule {
            choose(&self.routes[rule].to, Some(rule));
        }
        if chosen.is_empty() { Err(RouteError::NoRoute) } else { Ok(chosen) }
    }

    /// The provider or route that was probably meant. It takes a look at the names of all of them.
    pub fn nearest_name(&self, name: &str) -> Option<&str> {
        let routes = self.routes.iter().filter_map(|route| route.name.as_deref());
        let known = self.providers.iter().map(|provider| provider.name.as_str()).chain(routes);
        nearest(name, known)
    }

    /// Reads those secret files again that have changed, and reports what became of them. It reads every file's metadata and
    /// blocks meanwhile; it is meant to be called about every second.
    pub fn refresh_secrets(&self) -> Vec<SecretChange> {
        let refresh = |(provider, file): &(String, Arc<SecretFile>)| {
            let (path, outcome) = file.refresh()?;
            Some(SecretChange { provider: provider.clone(), path: path.to_owned(), outcome })
        };
        self.secret_files.iter().filter_map(refresh).collect()
    }
}

fn part_of<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    document.get("providers")?.get(name)
}

/// Whether both documents have a provider of this name, of the same kind and with the same settings.
fn is_same_adapter(a: &Value, b: &Value, name: &str) -> bool {
    let built_from = |document| {
        let part = part_of(document, name)?;
        Some((part.get("kind")?.clone(), settings_of(part)))
    };
    let (a, b) = (built_from(a), built_from(b));
    a.is_some() && a == b
}

impl fmt::Debug for Configuration {
    /// Without the document, which may hold a literal secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("revision", &self.revision)
            .field("providers", &self.providers)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::{collection::vec, prelude::*, sample::select};
    use secrecy::ExposeSecret;
    use serde::Deserialize;

    use super::*;
    use crate::{
        made_up,
        routes::{self, RoutePart},
    };

    const NAMES: [&str; 4] = ["ada", "bob", "cyd", "dee"];
    const DOMAINS: [&str; 3] = ["one.example", "two.example", "three.example"];

    static PROVIDERS: LazyLock<Configuration> = LazyLock::new(|| {
        let providers =
            NAMES.map(|name| format!("[providers.{name}]\nkind = \"pigeon\"\nloft = \"{name}\"\n"));
        made_up::gate(&[]).check(&providers.concat()).configuration.unwrap()
    });

    /// A configuration with these routes, which the gate would let through.
    fn configuration(routes: &str) -> Configuration {
        let document: Value = toml::from_str(routes).unwrap();
        let parts = document["routes"].as_array().into_iter().flatten();
        let parts = parts.map(|part| RoutePart::deserialize(part).unwrap()).enumerate().collect();
        let (found, faults) = routes::resolve(parts, &NAMES);
        assert_eq!(faults, []);
        let providers = PROVIDERS.providers().cloned().collect();
        Configuration::new(routes, document, providers, found, Vec::new())
    }

    fn route(configuration: &Configuration, to: Option<&[&str]>, domain: &str) -> Vec<String> {
        let to: Option<Vec<String>> = to.map(|to| to.iter().map(ToString::to_string).collect());
        let address = format!("who@{domain}").parse().unwrap();
        let labels = BTreeMap::from([("team".to_owned(), "r-and-d".to_owned())]);
        let providers = configuration.route(to.as_deref(), &labels, &address).unwrap();
        providers.iter().map(|chosen| chosen.provider.name.clone()).collect()
    }

    fn first_of_each(names: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
        let mut seen = Vec::new();
        for name in names {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        seen
    }

    const ROUTES: &str = r#"
        [[routes]]
        name = "engineers"
        when = { labels = { team = ["r-and-d", "ops"], purpose = "employee" }, email_domain = "one.example" }
        to = ["ada", "bob"]
        [[routes]]
        when = { email_domain = ["TWO.example", "Bücher.example"] }
        to = "cyd"
        [[routes]]
        when.labels.team = "r-and-d"
        to = ["bob", "dee", "bob"]
    "#;

    fn rules_decide(labels: &[(&str, &str)], domain: &str) -> Option<Vec<String>> {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let address = format!("Who@{domain}").parse().unwrap();
        let routed = configuration(ROUTES).route(None, &labels, &address);
        Some(routed.ok()?.iter().map(|chosen| chosen.provider.name.clone()).collect())
    }

    #[test]
    fn the_first_route_whose_conditions_all_hold_decides() {
        let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        let employee = [("team", "ops"), ("purpose", "employee"), ("other", "x")];
        assert_eq!(rules_decide(&employee, "One.Example"), names(&["ada", "bob"]));
        assert_eq!(rules_decide(&employee, "sub.one.example"), None);
        assert_eq!(rules_decide(&[], "two.example"), names(&["cyd"]));
        assert_eq!(rules_decide(&[], "xn--bcher-kva.example"), names(&["cyd"]));
        assert_eq!(rules_decide(&[("team", "r-and-d")], "one.example"), names(&["bob", "dee"]));
        assert_eq!(rules_decide(&[("team", "sales")], "one.example"), None);
    }

    #[test]
    fn what_is_chosen_says_which_route_led_there_if_one_did() {
        let configuration = configuration(ROUTES);
        let routes = |to: Option<&[&str]>, domain: &str| {
            let to: Option<Vec<String>> = to.map(|to| to.iter().map(ToString::to_string).collect());
            let address = format!("who@{domain}").parse().unwrap();
            let chosen = configuration.route(to.as_deref(), &BTreeMap::new(), &address).unwrap();
            chosen.into_iter().map(|it| (it.provider.name.clone(), it.route)).collect::<Vec<_>>()
        };
        let route =
            |rule, name: Option<&str>| Some(RouteTaken { rule, name: name.map(str::to_owned) });
        assert_eq!(routes(None, "two.example"), [("cyd".to_owned(), route(1, None))]);
        let engineers = route(0, Some("engineers"));
        assert_eq!(
            routes(Some(&["bob", "engineers"]), "two.example"),
            [("bob".to_owned(), None), ("ada".to_owned(), engineers)]
        );
    }

    #[test]
    fn an_unknown_name_is_named_with_its_place_and_the_nearest_one() {
        let to = ["ada".to_owned(), "engineer".to_owned(), "nobody".to_owned()];
        let address = "who@one.example".parse().unwrap();
        let configuration = configuration(ROUTES);
        let error = configuration.route(Some(&to), &BTreeMap::new(), &address);
        let expected = RouteError::Unknown { name: "engineer".into(), index: 1 };
        assert_eq!(error.unwrap_err(), expected);
        assert_eq!(configuration.nearest_name("engineer"), Some("engineers"));
    }

    #[test]
    fn an_empty_to_goes_nowhere() {
        let address = "who@one.example".parse().unwrap();
        let error = configuration(ROUTES).route(Some(&[]), &BTreeMap::new(), &address);
        assert_eq!(error.unwrap_err(), RouteError::NoRoute);
    }

    #[test]
    fn a_configuration_keeps_its_text_and_takes_a_revision() {
        let configuration = configuration("# ä\r\n").with_revision(7);
        assert_eq!(configuration.revision(), 7);
        assert!(configuration.text().ends_with("# ä\r\n"));
        let names: Vec<_> = configuration.providers().map(|p| &*p.name).collect();
        assert_eq!(names, NAMES);
        assert_eq!(configuration.provider("cyd").map(|p| &*p.name), Some("cyd"));
        assert!(configuration.provider("eve").is_none());
    }

    const FLOCK: &str = r#"
        [providers.ada]
        kind = "pigeon"
        loft = "a"
        token = { env = "TOKEN" }
        [providers.bob]
        kind = "pigeon"
        loft = "b"
        [[routes]]
        to = ["ada", "bob"]
    "#;

    fn passed(text: &str) -> Configuration {
        let checked = made_up::gate(&[("TOKEN", "t0ken"), ("OTHER", "0ther")]).check(text);
        checked.configuration.unwrap_or_else(|| panic!("{:?}", checked.findings))
    }

    /// The successor of `FLOCK` as revision 1 that differs from it so, as revision 2.
    fn successor(from: &str, to: &str) -> (Configuration, Configuration) {
        let live = passed(FLOCK).with_revision(1);
        assert!(FLOCK.contains(from), "{from}");
        let next = passed(&FLOCK.replace(from, to)).adopting(&live).with_revision(2);
        (live, next)
    }

    /// The revisions of a provider: of its document, since when its adapter, since when its account.
    fn since(configuration: &Configuration, name: &str) -> (i64, i64, i64) {
        let provider = configuration.provider(name).unwrap();
        (provider.revision, provider.adapter_since, provider.account_since)
    }

    fn removed(live: &Configuration, next: &Configuration) -> Vec<String> {
        live.accounts().removed_by(&next.accounts())
    }

    fn shares_adapter(a: &Configuration, b: &Configuration, name: &str) -> bool {
        let adapter = |it: &Configuration| it.provider(name).unwrap().adapter.clone();
        Arc::ptr_eq(&adapter(a), &adapter(b))
    }

    #[test]
    fn a_provider_whose_settings_stay_keeps_its_adapter_under_new_limits() {
        let limits = "loft = \"b\"\nenabled = false\nlimits = { max_in_flight = 1 }";
        let (live, next) = successor("loft = \"b\"", limits);
        assert!(shares_adapter(&live, &next, "ada") && shares_adapter(&live, &next, "bob"));
        assert_eq!((since(&next, "ada"), since(&next, "bob")), ((2, 1, 1), (2, 1, 1)));
        let bob = next.provider("bob").unwrap();
        assert_eq!((bob.enabled, bob.limits.max_in_flight), (false, 1));
        assert_eq!(next.changed_since(&live), ["bob"]);
        assert!(removed(&live, &next).is_empty());
    }

    #[test]
    fn a_provider_with_another_credential_is_new_at_the_same_account() {
        let (live, next) = successor("env = \"TOKEN\"", "env = \"OTHER\"");
        assert!(!shares_adapter(&live, &next, "ada") && shares_adapter(&live, &next, "bob"));
        assert_eq!((since(&next, "ada"), since(&next, "bob")), ((2, 2, 1), (2, 1, 1)));
        assert_eq!(next.changed_since(&live), ["ada"]);
        assert!(removed(&live, &next).is_empty());
    }

    #[test]
    fn another_account_under_the_same_name_counts_as_removed() {
        let (live, next) = successor("loft = \"a\"", "loft = \"z\"");
        assert_eq!(since(&next, "ada"), (2, 2, 2));
        assert_eq!(removed(&live, &next), ["ada"]);
        let without = successor("loft = \"a\"", "").1;
        assert_eq!(removed(&live, &without), ["ada"]);
        assert_eq!(removed(&without, &live), ["ada"], "and to name it where it was not");
    }

    #[test]
    fn providers_that_are_gone_or_added_are_named() {
        let (live, next) = successor("ada", "eve");
        assert_eq!(removed(&live, &next), ["ada"]);
        assert_eq!(next.changed_since(&live), ["eve", "ada"]);
        assert_eq!(since(&next, "eve"), (2, 2, 2));
        let none = passed("").adopting(&live).with_revision(3);
        assert_eq!(removed(&live, &none), ["ada", "bob"]);
    }

    #[test]
    fn secret_files_of_a_kept_provider_are_read_again_for_its_kept_adapter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "old").unwrap();
        let file = format!("file = {:?}", path.to_str().unwrap());
        let text = FLOCK.replace("env = \"TOKEN\"", &file);
        let live = passed(&text).with_revision(1);
        let limits = "limits = { max_in_flight = 1 }\n        [providers.bob]";
        let next = passed(&text.replace("[providers.bob]", limits)).adopting(&live);
        std::fs::write(folder.path().join("next"), "new").unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert_eq!(next.refresh_secrets().len(), 1);
        let secret = &live.provider("ada").unwrap().adapter.credential().secrets()[0];
        assert_eq!(secret.current().1.expose_secret(), "new");
        assert_eq!(live.refresh_secrets(), [], "they share what they know of the file");
    }

    #[test]
    fn a_finding_of_later_stands_where_the_provider_does() {
        let live = passed(FLOCK);
        let found =
            |pointer: &str| live.finding(Severity::Error, Fault::new(pointer, "x", "a fault"));
        let place = |pointer| (found(pointer).line, found(pointer).column);
        assert_eq!(place("/providers/bob"), (6, 9));
        assert_eq!(place("/providers/eve"), (2, 10), "where it would stand");
    }

    proptest! {
        #[test]
        fn to_is_followed_in_order_and_each_provider_taken_once(
            to in vec(select(&["ada", "bob", "cyd", "dee", "both", "all"][..]), 1..8),
        ) {
            let configuration = configuration(
                "[[routes]]\nname = \"both\"\nwhen.labels.x = \"y\"\nto = [\"cyd\", \"ada\"]\n\
                 [[routes]]\nname = \"all\"\nto = [\"dee\", \"bob\", \"cyd\", \"ada\"]\n",
            );
            let expanded = to.iter().flat_map(|name| match *name {
                "both" => vec!["cyd", "ada"],
                "all" => vec!["dee", "bob", "cyd", "ada"],
                name => vec![name],
            });
            let expected = first_of_each(expanded);
            prop_assert_eq!(route(&configuration, Some(&to), "one.example"), expected);
        }

        #[test]
        fn a_route_without_when_catches_what_came_to_no_earlier_one(
            domains in vec(select(&DOMAINS[..2]), 0..3),
            to in vec(vec(select(&NAMES[..]), 1..6), 3),
            asked in select(&DOMAINS[..]),
        ) {
            let domains = first_of_each(domains);
            let mut text: String = domains.iter().zip(&to).map(|(domain, to)| {
                format!("[[routes]]\nwhen.email_domain = [\"{domain}\"]\nto = {to:?}\n")
            }).collect();
            text.push_str(&format!("[[routes]]\nto = {:?}\n", to[2]));
            let decided = domains.iter().position(|domain| *domain == asked).unwrap_or(2);
            let expected = first_of_each(to[decided].clone());
            prop_assert_eq!(route(&configuration(&text), None, asked), expected);
        }

        #[test]
        fn a_route_that_is_named_skips_its_when(
            to in vec(select(&NAMES[..]), 1..6),
            asked in select(&DOMAINS[..]),
        ) {
            let text = format!(
                "[[routes]]\nname = \"it\"\nto = {to:?}\n\
                 when = {{ labels = {{ team = \"none\" }}, email_domain = \"four.example\" }}\n"
            );
            let configuration = configuration(&text);
            let expected = first_of_each(to);
            prop_assert_eq!(route(&configuration, Some(&["it"]), asked), expected);
            let address = format!("who@{asked}").parse().unwrap();
            let unnamed = configuration.route(None, &BTreeMap::new(), &address);
            prop_assert_eq!(unnamed.unwrap_err(), RouteError::NoRoute);
        }
    }
}
