//! `[[routes]]`: where invites go that do not say so themselves.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use invite_core::{
    Address, Fault, MAX_FAULTS,
    schema::{escape, nearest},
    text::{MAX_LABELS, check_label_key, check_label_value},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// One text or several.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-forms" = "a string, or an array of at least one"))]
pub(crate) enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

impl OneOrMore {
    /// The texts, each with the pointer to it.
    fn entries(&self, at: &str) -> Vec<(String, &str)> {
        match self {
            Self::One(text) => vec![(at.to_owned(), text)],
            Self::Several(texts) => {
                let entry = |(index, text)| (format!("{at}/{index}"), String::as_str(text));
                texts.iter().enumerate().map(entry).collect()
            }
        }
    }
}

/// Where the invites go that this route is for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoutePart {
    /// Makes the route usable in an invite's `to`, which then skips its `when`.
    name: Option<String>,
    /// Which invites it is for; left out: all that came to no earlier route.
    when: Option<WhenPart>,
    /// The providers that they go to, all of them.
    to: OneOrMore,
}

/// Which invites a route is for: all of the conditions must hold.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhenPart {
    /// The label of each name must have this value, or one of these.
    labels: Option<BTreeMap<String, OneOrMore>>,
    /// The address must be in this domain, or one of these; subdomains are other domains.
    email_domain: Option<OneOrMore>,
}

/// A route that passed the gate.
#[derive(Debug)]
pub(crate) struct Route {
    /// What it is called in `to`.
    pub name: Option<String>,
    /// The names of its providers, as written.
    pub to: Vec<String>,
    when: When,
}

/// Conditions that must all hold; without any, every invite is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct When {
    labels: BTreeMap<String, BTreeSet<String>>,
    email_domain: Option<BTreeSet<String>>,
}

impl Route {
    /// Whether the route is for such an invite.
    pub fn is_for(&self, labels: &BTreeMap<String, String>, address: &Address) -> bool {
        let label_holds = |(name, values): (&String, &BTreeSet<String>)| {
            labels.get(name).is_some_and(|value| values.contains(value))
        };
        let When { labels: wanted, email_domain } = &self.when;
        wanted.iter().all(label_holds)
            && email_domain.as_ref().is_none_or(|domains| domains.contains(address.domain()))
    }
}

impl When {
    /// Whether this is for every invite that `other` is for.
    fn covers(&self, other: &Self) -> bool {
        let label_covered = |(name, values): (&String, &BTreeSet<String>)| {
            other.labels.get(name).is_some_and(|others| others.is_subset(values))
        };
        let domain_covered = self.email_domain.as_ref().is_none_or(|domains| {
            other.email_domain.as_ref().is_some_and(|others| others.is_subset(domains))
        });
        domain_covered && self.labels.iter().all(label_covered)
    }

    fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl WhenPart {
    fn resolve(self, at: &str) -> Result<When, Vec<Fault>> {
        let mut faults = Vec::new();
        let values = |values: &OneOrMore| -> BTreeSet<String> {
            values.entries("").into_iter().map(|(_, value)| value.to_owned()).collect()
        };
        let labels = self.labels.unwrap_or_default();
        faults.extend(check_labels(&labels, &format!("{at}/labels")));
        let email_domain = self.email_domain.map(|domains| {
            let mut canonical = BTreeSet::new();
            for (at, domain) in domains.entries(&format!("{at}/email_domain")) {
                match canonical_domain(domain) {
                    Some(domain) => {
                        canonical.insert(domain);
                    }
                    None => faults.push(Fault {
                        suggestion: domain
                            .rsplit_once('@')
                            .and_then(|(_, domain)| canonical_domain(domain)),
                        ..Fault::new(at, "invalid", "not a domain of email addresses")
                    }),
                }
            }
            canonical
        });
        let labels = labels.iter().map(|(name, value)| (name.clone(), values(value))).collect();
        if faults.is_empty() { Ok(When { labels, email_domain }) } else { Err(faults) }
    }
}

/// The faults of labels that no invite can have, because its own are checked likewise.
fn check_labels(labels: &BTreeMap<String, OneOrMore>, at: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if labels.len() > MAX_LABELS {
        let detail = format!("an invite has at most {MAX_LABELS} labels, so none has all of these");
        faults.push(Fault::new(at, "too-many", detail));
    }
    let fault =
        |at: &str, (code, detail)| Fault::new(at, code, format!("no invite has it: {detail}"));
    for (key, values) in labels {
        let at = format!("{at}/{}", escape(key));
        faults.extend(check_label_key(key).map_err(|why| fault(&at, why)).err());
        for (at, value) in values.entries(&at) {
            faults.extend(check_label_value(value).map_err(|why| fault(&at, why)).err());
        }
    }
    faults
}

/// A domain as canonical addresses have it.
fn canonical_domain(domain: &str) -> Option<String> {
    let address: Address = format!("a@{domain}").parse().ok()?;
    Some(address.domain().to_owned())
}

/// Checks the routes against the providers of the document; `parts` have their places among `[[routes]]`. The routes are
/// complete only if there are no faults.
pub(crate) fn resolve(
    parts: Vec<(usize, RoutePart)>,
    providers: &[&str],
) -> (Vec<Route>, Vec<Fault>) {
    let mut routes: Vec<Route> = Vec::new();
    let mut faults = Vec::new();
    let declared: HashSet<&str> = providers.iter().copied().collect();
    let mut names = HashSet::new();
    let route_names: BTreeSet<_> = parts.iter().filter_map(|(_, part)| part.name.clone()).collect();
    for (index, part) in parts {
        let at = format!("/routes/{index}");
        if let Some(name) = &part.name {
            let is_new = names.insert(name.clone());
            faults.extend(check_name(name, is_new, &declared).map(|f| f.under(&at)));
        }
        for (at, name) in part.to.entries(&format!("{at}/to")) {
            let fault = check_target(name, &declared, &route_names).map(|mut fault| {
                // A suggestion takes a read of all names, and no more faults than this are reported.
                if faults.len() <= MAX_FAULTS {
                    fault.suggestion = nearest(name, providers.iter().copied()).map(str::to_owned);
                }
                fault.under(&at)
            });
            faults.extend(fault);
        }
        let when = match part.when.unwrap_or_default().resolve(&format!("{at}/when")) {
            Ok(when) => when,
            Err(found) => {
                faults.extend(found);
                continue;
            }
        };
        let to = part.to.entries("").into_iter().map(|(_, name)| name.to_owned()).collect();
        let route = Route { name: part.name, when, to };
        faults.extend(check_reachable(&route, &routes).map(|fault| fault.under(&at)));
        routes.push(route);
    }
    (routes, faults)
}

fn check_name(name: &str, is_new: bool, providers: &HashSet<&str>) -> Option<Fault> {
    if providers.contains(name) {
        let detail = format!("`{name}` is also a provider; `to` could not tell them apart");
        return Some(Fault::new("/name", "name-clash", detail));
    }
    if !is_new {
        let detail = format!("an earlier route is called `{name}` too");
        return Some(Fault::new("/name", "name-clash", detail));
    }
    invalid_name(name).map(|detail| Fault::new("/name", "invalid", detail))
}

fn check_target(name: &str, providers: &HashSet<&str>, routes: &BTreeSet<String>) -> Option<Fault> {
    if providers.contains(name) {
        return None;
    }
    if routes.contains(name) {
        let detail = format!("`{name}` is a route; a route goes to providers");
        return Some(Fault::new("", "unknown-provider", detail));
    }
    Some(Fault::new("", "unknown-provider", format!("there is no provider `{name}`")))
}

/// The fault that no invite reaches a route. One with a name and no `when` is reached through `to` alone.
fn check_reachable(route: &Route, earlier: &[Route]) -> Option<Fault> {
    if route.name.is_some() && route.when.is_everything() {
        return None;
    }
    let (place, before) =
        earlier.iter().enumerate().find(|(_, before)| before.when.covers(&route.when))?;
    let what = match &before.name {
        Some(name) => format!("route `{name}`"),
        None => format!("an earlier route (number {})", place + 1),
    };
    let why = if before.when.is_everything() {
        "has no `when`, so it takes every invite that comes this far".to_owned()
    } else {
        "takes every invite that this one is for".to_owned()
    };
    let detail = format!("no invite reaches this route: {what} {why}; put this one before it");
    Some(Fault::new("", "unreachable-route", detail))
}

/// Why a provider or a route cannot be called `name`, if it cannot.
pub(crate) fn invalid_name(name: &str) -> Option<&'static str> {
    let is_valid = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let detail = "a name has 1 to 64 letters, digits, hyphens, underscores and dots, and starts \
                  with a letter or digit: it stands in addresses of the API";
    (!is_valid).then_some(detail)
}

/// The warnings about providers that no route leads to.
pub(crate) fn check_unrouted(routes: &[Route], providers: &[&str]) -> Vec<Fault> {
    let routed: BTreeSet<_> = routes.iter().flat_map(|route| &route.to).collect();
    providers
        .iter()
        .filter(|name| !routed.contains(&(**name).to_owned()))
        .map(|name| {
            let detail = format!("no route leads to `{name}`; only invites that name it get there");
            Fault::new(format!("/providers/{}", escape(name)), "unrouted-provider", detail)
        })
        .collect()
}
