//! What an API key may be: read from what was asked for, and compared with the key that it is made
//! or changed with. API and command line share these rules; the calls are in `admin::keys`.

use std::{collections::HashSet, sync::LazyLock};

use invite_core::{
    Fault, Faults, KeyId, pattern,
    schema::{Schema, nearest},
    text::check_word,
};
use invite_store::{ApiKey, KeyFamily, KeyLimits};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{
    auth::{Caller, MAX_KEY_NAME, SCOPES, Scope, has_scope},
    body::read_members,
    moment::Moment,
};

/// The tenant of a key that names none.
const DEFAULT_TENANT: &str = "default";
/// How many keys may descend from each other in a row. What is asked for with the last is counted for all of them.
pub(crate) const MAX_LINEAGE: usize = 16;

/// An API key to make.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it is for, and who uses it.
    #[schemars(required, length(min = 1, max = 100), transform = pattern::word, example = "HR onboarding")]
    name: Option<String>,
    /// What it may do; `admin` is all of them, over all tenants.
    #[schemars(required, length(min = 1))]
    scopes: Option<Vec<Scope>>,
    /// Whose invites it sees; absent: `default`, or that of the key that makes it if that is not for all
    /// tenants.
    #[schemars(length(min = 1, max = 200), transform = pattern::word, example = DEFAULT_TENANT)]
    tenant: Option<String>,
    /// The providers that it may use; absent: those of the key that makes it.
    #[schemars(length(min = 1))]
    providers: Option<Vec<String>>,
    /// How many requests it may make; absent: as many as the key that makes it.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 100)]
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; absent: as many as the key that makes it.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 20)]
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; absent: as many as the key that makes it.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 5000)]
    invites_per_day: Option<u64>,
    /// When it lapses, a time to come; absent: with the key that makes it.
    #[schemars(with = "Option<Timestamp>")]
    expires_at: Option<Moment>,
}

static NEW_KEY: LazyLock<Schema> = LazyLock::new(Schema::of::<NewKey>);
static KEY_CHANGE: LazyLock<Schema> = LazyLock::new(Schema::of::<KeyChange>);

/// Reads a key to make; it gets a new id and no hash. What is left out is as it is for `maker`, the key
/// that it is made with, if that is limited; without one it is made on the gateway's machine. `providers`
/// are the names of those that there are.
///
/// # Errors
/// All faults, with pointers such as `#/name`.
pub fn new_key(
    body: Value,
    maker: Option<&ApiKey>,
    providers: &[&str],
    now: Timestamp,
) -> Result<ApiKey, Vec<Fault>> {
    let mut found = Faults::default();
    let new: NewKey = read_members(body, &NEW_KEY, &mut found);
    let name = new.name.filter(|name| check(name, "name", MAX_KEY_NAME, &mut found));
    let tenant = new.tenant.filter(|tenant| check(tenant, "tenant", usize::MAX, &mut found));
    let providers = new.providers.and_then(|names| known_names(names, providers, &mut found));
    let expires_at = read_expiry(new.expires_at, now, &mut found);
    let (Some(name), Some(scopes), true) = (name, new.scopes, found.is_empty()) else {
        return Err(found.into_vec());
    };
    let is_given = |word: &&&str| scopes.iter().any(|scope| scope.as_str() == **word);
    let scopes = SCOPES.iter().filter(is_given).map(ToString::to_string).collect();
    let own = maker.map(|maker| maker.limits).unwrap_or_default();
    let own_tenant = maker.filter(|maker| !is_for_all_tenants(maker));
    Ok(ApiKey {
        id: KeyId::generate(),
        hash: String::new(),
        name,
        tenant: tenant.unwrap_or_else(|| {
            own_tenant.map_or(DEFAULT_TENANT, |maker| maker.tenant.as_str()).to_owned()
        }),
        scopes,
        providers: providers.or_else(|| maker?.providers.clone()),
        limits: KeyLimits {
            requests_per_second: new.requests_per_second.or(own.requests_per_second),
            invites_per_second: new.invites_per_second.or(own.invites_per_second),
            invites_per_day: new.invites_per_day.or(own.invites_per_day),
        },
        created_at: whole_milliseconds(now),
        expires_at: expires_at.or_else(|| maker?.expires_at),
        revoked_at: None,
        last_used_at: None,
        parent: maker.map(|maker| maker.id),
    })
}

/// A change of an API key: none of a member leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// What it is for, and who uses it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 100), transform = pattern::word, example = "HR onboarding")]
    name: Option<String>,
    /// The providers that it may use; null: all.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    providers: Option<Option<Vec<String>>>,
    /// How many requests it may make; null: no limit.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 1_000_000), example = 100)]
    requests_per_second: Option<Option<f64>>,
    /// How many invites it may ask for in a second, on average; null: no limit.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 1_000_000), example = 20)]
    invites_per_second: Option<Option<f64>>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; null: no limit.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000), example = 5000)]
    invites_per_day: Option<Option<u64>>,
    /// When it lapses, a time to come; null: never.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timestamp>")]
    expires_at: Option<Option<Moment>>,
}

/// Reads a member that is given, even as null, so that it differs from one that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl KeyChange {
    /// Reads a change. Null takes a limit away.
    ///
    /// # Errors
    /// All faults, with pointers such as `#/name`.
    pub fn read(body: Value, providers: &[&str], now: Timestamp) -> Result<Self, Vec<Fault>> {
        let mut found = Faults::default();
        let is_empty = body.as_object().is_some_and(Map::is_empty);
        let change: Self = read_members(body, &KEY_CHANGE, &mut found);
        if let Some(name) = &change.name {
            check(name, "name", MAX_KEY_NAME, &mut found);
        }
        let names = change.providers.clone().flatten();
        let names = names.and_then(|names| known_names(names, providers, &mut found));
        read_expiry(change.expires_at.flatten(), now, &mut found);
        if is_empty {
            let members = KEY_CHANGE.document()["properties"].as_object().into_iter().flatten();
            let members: Vec<&str> = members.map(|(name, _)| name.as_str()).collect();
            let detail = format!("nothing is to change: give one of {}", members.join(", "));
            found.push(Fault::new("#", "required", detail));
        }
        match found.is_empty() {
            true => Ok(Self { providers: change.providers.is_some().then_some(names), ..change }),
            false => Err(found.into_vec()),
        }
    }

    /// The changed key, unless there is a [`refusal`](Self::refusal).
    pub fn decide(&self, family: &KeyFamily, changer: Option<&ApiKey>) -> Option<ApiKey> {
        self.refusal(family, changer).is_none().then(|| self.apply(&family.key))
    }

    fn apply(&self, key: &ApiKey) -> ApiKey {
        let (change, old) = (self.clone(), key.limits);
        ApiKey {
            name: change.name.unwrap_or_else(|| key.name.clone()),
            providers: change.providers.unwrap_or_else(|| key.providers.clone()),
            limits: KeyLimits {
                requests_per_second: change.requests_per_second.unwrap_or(old.requests_per_second),
                invites_per_second: change.invites_per_second.unwrap_or(old.invites_per_second),
                invites_per_day: change.invites_per_day.unwrap_or(old.invites_per_day),
            },
            expires_at: match change.expires_at {
                Some(at) => at.and_then(|at| at.0).map(whole_milliseconds),
                None => key.expires_at,
            },
            ..key.clone()
        }
    }

    /// Why the change is not made, in one line: the changed key would exceed `changer`, the key that it is
    /// changed with, or its parent, or be exceeded by one that was made with it. Without `changer` it is
    /// changed on the gateway's machine.
    pub fn refusal(&self, family: &KeyFamily, changer: Option<&ApiKey>) -> Option<String> {
        let after = self.apply(&family.key);
        let raised = excess(&after, &family.key);
        let mut said = Vec::new();
        for above in changer.into_iter().chain(&family.parent) {
            // Where it exceeds the other already, it may stay as it is or come nearer.
            let beyond = excess(&after, above).into_iter().filter(|word| raised.contains(word));
            said.extend(beyond.map(|word| format!("it would exceed {} in its {word}", above.id)));
        }
        for child in &family.children {
            let of_child = excess(child, &after);
            let words = of_child.iter();
            said.extend(words.map(|word| {
                format!("{}, which was made with it, would exceed it in its {word}", child.id)
            }));
        }
        said.dedup();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// The members in which a key would exceed the one that it is made or changed with.
pub(crate) fn excess(key: &ApiKey, above: &ApiKey) -> Vec<&'static str> {
    let mut words = excess_of_rights(key, above);
    words.extend(is_more(key.expires_at, above.expires_at).then_some("expires_at"));
    words
}

/// Whether one limit exceeds another; `None` is no limit.
fn is_more<T: PartialOrd>(limit: Option<T>, most: Option<T>) -> bool {
    most.is_some_and(|most| limit.is_none_or(|limit| limit > most))
}

/// Whether a caller may see, change and revoke a key: the key can do nothing that the caller's cannot,
/// though it may last longer, and is none of the caller's ancestors.
pub(crate) fn manages(caller: &Caller, key: &ApiKey) -> bool {
    let is_ancestor = caller.ancestors().iter().any(|above| above.id == key.id);
    !is_ancestor && excess_of_rights(key, caller.key()).is_empty()
}

/// The members in which a key can do more than another, as long as both are good.
fn excess_of_rights(key: &ApiKey, above: &ApiKey) -> Vec<&'static str> {
    let (own, most) = (&key.limits, &above.limits);
    let scopes = key.scopes.iter().any(|scope| !has_scope(above, scope));
    let tenant = key.tenant != above.tenant && !is_for_all_tenants(above);
    let providers = above.providers.as_ref().is_some_and(|most| {
        key.providers.as_ref().is_none_or(|names| names.iter().any(|name| !most.contains(name)))
    });
    let words = [
        ("scopes", scopes),
        ("tenant", tenant),
        ("providers", providers),
        ("requests_per_second", is_more(own.requests_per_second, most.requests_per_second)),
        ("invites_per_second", is_more(own.invites_per_second, most.invites_per_second)),
        ("invites_per_day", is_more(own.invites_per_day, most.invites_per_day)),
    ];
    words.into_iter().filter_map(|(word, is_more)| is_more.then_some(word)).collect()
}

fn is_for_all_tenants(key: &ApiKey) -> bool {
    has_scope(key, Scope::InvitesAllTenants.as_str())
}

/// Whether a key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl KeyState {
    pub fn of(key: &ApiKey, now: Timestamp) -> Self {
        match key.revoked_at {
            Some(_) => Self::Revoked,
            None if key.is_good(now) => Self::Active,
            None => Self::Expired,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A time as the store keeps it, so that every answer shows the same.
pub(crate) fn whole_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// Whether a text is fit for a column of a list and for the log. Its length and form were checked by the schema.
fn check(word: &str, member: &str, max: usize, faults: &mut Faults) -> bool {
    let checked = check_word(word, max);
    if let Err((code, detail)) = &checked {
        faults.push(Fault::new(format!("#/{member}"), *code, format!("`{member}` {detail}")));
    }
    checked.is_ok()
}

/// The known names among those given, each once and in the order of the known ones. Unknown ones are faults.
fn known_names(given: Vec<String>, known: &[&str], faults: &mut Faults) -> Option<Vec<String>> {
    let names: HashSet<&str> = known.iter().copied().collect();
    let before = faults.len();
    let unknown = given.iter().enumerate().filter(|(_, name)| !names.contains(name.as_str()));
    faults.extend(unknown.map(|(index, name)| {
        let detail = match known.is_empty() {
            true => "there is no such name; none is configured".to_owned(),
            false => format!("there is no such name; known are: {}", known.join(", ")),
        };
        let suggestion = nearest(name, known.iter().copied()).map(str::to_owned);
        let fault = Fault::new(format!("#/providers/{index}"), "unknown-provider", detail);
        Fault { suggestion, ..fault }
    }));
    let given: HashSet<&str> = given.iter().map(String::as_str).collect();
    let taken = known.iter().filter(|name| given.contains(*name));
    (faults.len() == before).then(|| taken.map(ToString::to_string).collect())
}

fn read_expiry(given: Option<Moment>, now: Timestamp, faults: &mut Faults) -> Option<Timestamp> {
    let (code, detail) = match given?.0 {
        Some(at) if at > now => return Some(whole_milliseconds(at)),
        Some(_) => ("out-of-range", "`expires_at` must be a time to come"),
        None => ("invalid", "`expires_at` must be a time such as 2026-01-31T12:00:00Z"),
    };
    faults.push(Fault::new("#/expires_at", code, detail));
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<ApiKey, Vec<(String, String)>> {
        let key = new_key(body, None, &["north"], Timestamp::UNIX_EPOCH);
        key.map_err(|all| all.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    const LIMITS: KeyLimits = KeyLimits {
        requests_per_second: Some(2.0),
        invites_per_second: Some(3.0),
        invites_per_day: Some(4),
    };

    fn requests(per_second: f64) -> KeyLimits {
        KeyLimits { requests_per_second: Some(per_second), ..LIMITS }
    }

    pub(crate) fn key(scopes: &[&str], providers: Option<&[&str]>) -> ApiKey {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ApiKey {
            id: KeyId::generate(),
            hash: String::new(),
            name: "test".into(),
            tenant: "acme".into(),
            scopes: owned(scopes),
            providers: providers.map(owned),
            limits: KeyLimits::default(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            parent: None,
        }
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn a_key_exceeds_another_in_whatever_it_has_more_of() {
        let all = key(&["admin"], None);
        let some = ApiKey {
            limits: LIMITS,
            expires_at: at(10),
            ..key(&["keys:write", "invites:read"], Some(&["a", "b"]))
        };
        assert_eq!(excess(&all, &all), [""; 0]);
        assert_eq!(excess(&some, &all), [""; 0]);
        assert_eq!(excess(&some, &some), [""; 0]);
        let limits =
            "scopes providers requests_per_second invites_per_second invites_per_day expires_at";
        assert_eq!(excess(&all, &some).join(" "), limits);
        let less = ApiKey {
            providers: Some(vec!["b".into()]),
            limits: requests(1.0),
            expires_at: at(9),
            ..some.clone()
        };
        assert_eq!(excess(&less, &some), [""; 0]);
        let faster = KeyLimits { invites_per_second: Some(3.5), ..LIMITS };
        let endless = KeyLimits { invites_per_day: None, ..LIMITS };
        for (more, word) in [
            (ApiKey { scopes: vec!["invites:codes".into()], ..less.clone() }, "scopes"),
            (ApiKey { tenant: "other".into(), ..less.clone() }, "tenant"),
            (ApiKey { providers: Some(vec!["b".into(), "c".into()]), ..less.clone() }, "providers"),
            (ApiKey { limits: requests(2.5), ..less.clone() }, "requests_per_second"),
            (ApiKey { limits: faster, ..less.clone() }, "invites_per_second"),
            (ApiKey { limits: endless, ..less.clone() }, "invites_per_day"),
            (ApiKey { expires_at: at(11), ..less.clone() }, "expires_at"),
        ] {
            assert_eq!(excess(&more, &some), [word]);
        }
    }

    #[test]
    fn a_caller_manages_keys_that_can_do_no_more_and_are_not_above_its_own() {
        let above = ApiKey { limits: LIMITS, ..key(&["keys:write"], None) };
        let own =
            ApiKey { parent: Some(above.id), ..ApiKey { id: KeyId::generate(), ..above.clone() } };
        let caller = Caller::new(own.clone(), vec![above.clone()], None);
        let sibling = ApiKey { id: KeyId::generate(), ..own.clone() };
        let longer = ApiKey { expires_at: None, ..sibling.clone() };
        let lasts = Caller::new(ApiKey { expires_at: at(10), ..own.clone() }, Vec::new(), None);
        assert!(manages(&caller, &own) && manages(&caller, &sibling) && manages(&lasts, &longer));
        assert!(!manages(&caller, &above), "which it descends from");
        let faster = ApiKey { limits: requests(2.5), ..sibling.clone() };
        let elsewhere = ApiKey { tenant: "other".into(), ..sibling.clone() };
        let wider = ApiKey { scopes: vec!["audit:read".into()], ..sibling };
        for more in [&faster, &elsewhere, &wider] {
            assert!(!manages(&caller, more));
        }
        let admin = Caller::new(key(&["admin"], None), Vec::new(), None);
        assert!([&above, &faster, &elsewhere, &wider].into_iter().all(|it| manages(&admin, it)));
    }

    #[test]
    fn no_key_is_raised_beyond_the_one_that_it_is_changed_with_also_if_it_is_beyond_it_already() {
        let change = |body| KeyChange::read(body, &["a", "b", "c"], Timestamp::UNIX_EPOCH).unwrap();
        let (year, later) = ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z");
        let changer = ApiKey {
            limits: KeyLimits { invites_per_day: Some(1), ..requests(1.0) },
            expires_at: at(10),
            ..key(&["keys:write"], Some(&["a"]))
        };
        let greater = ApiKey {
            limits: KeyLimits { invites_per_second: Some(4.0), ..LIMITS },
            expires_at: year.parse().ok(),
            ..key(&["keys:write"], Some(&["a", "b"]))
        };
        for (member, more, less) in [
            ("providers", json!(["a", "b", "c"]), json!(["b"])),
            ("requests_per_second", json!(2.5), json!(1.5)),
            ("invites_per_second", json!(4.5), json!(3.5)),
            ("invites_per_day", json!(5), json!(3)),
            ("expires_at", json!(later), json!("2029-01-01T00:00:00Z")),
        ] {
            let said = |value: Value, changer, parent: Option<&ApiKey>| {
                let (key, parent) = (greater.clone(), parent.cloned());
                let family = KeyFamily { key, parent, children: Vec::new() };
                change(json!({ member: value })).refusal(&family, changer)
            };
            let refused = Some(format!("it would exceed {} in its {member}", changer.id));
            for value in [more, Value::Null] {
                assert_eq!(said(value.clone(), Some(&changer), None), refused);
                assert_eq!(said(value, None, Some(&changer)), refused, "nor beyond its parent");
            }
            assert_eq!(said(less, Some(&changer), None), None, "{member}");
        }
    }

    #[test]
    fn what_a_new_key_leaves_out_is_as_for_the_key_that_makes_it() {
        let maker = ApiKey {
            limits: LIMITS,
            expires_at: at(10),
            ..key(&["keys:write", "invites:read"], Some(&["north"]))
        };
        let body = json!({ "name": "hr", "scopes": ["invites:read"] });
        let made = new_key(body, Some(&maker), &["north"], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(excess(&made, &maker), [""; 0]);
        assert_eq!((&made.tenant, made.parent), (&maker.tenant, Some(maker.id)));
        assert_eq!((made.expires_at, made.limits), (at(10), LIMITS));
    }

    #[test]
    fn a_change_agrees_with_those_above_and_below() {
        let change = |body| KeyChange::read(body, &["north"], Timestamp::UNIX_EPOCH).unwrap();
        let child = ApiKey { limits: requests(1.0), ..key(&["invites:read"], None) };
        let family = KeyFamily {
            key: ApiKey { limits: requests(2.0), ..key(&["invites:read"], None) },
            parent: Some(ApiKey { limits: requests(3.0), ..key(&["admin"], None) }),
            children: vec![child.clone()],
        };
        let rate = |rate: Value| change(json!({ "requests_per_second": rate }));
        assert_eq!(rate(json!(3)).refusal(&family, None), None);
        for wrong in [json!(4), Value::Null] {
            let refusal = rate(wrong).refusal(&family, None).unwrap();
            let parent = family.parent.as_ref().unwrap().id;
            assert_eq!(refusal, format!("it would exceed {parent} in its requests_per_second"));
        }
        let refusal = rate(json!(0.5)).refusal(&family, None).unwrap();
        assert!(refusal.starts_with(&child.id.to_string()), "{refusal}");
        let changer = ApiKey { limits: requests(1.5), ..key(&["keys:write"], None) };
        assert_eq!(change(json!({ "name": "x" })).refusal(&family, Some(&changer)), None);
        let faults = KeyChange::read(json!({ "name": null }), &[], Timestamp::UNIX_EPOCH);
        assert_eq!(faults.unwrap_err()[0].pointer, "#/name");
        assert!(KeyChange::read(json!({}), &[], Timestamp::UNIX_EPOCH).is_err());
        let scopes = json!({ "scopes": ["admin"] });
        assert!(KeyChange::read(scopes, &[], Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn a_key_needs_a_name_and_scopes_and_the_rest_has_defaults() {
        let key = read(json!({ "name": "hr", "scopes": ["admin"], "tenant": null })).unwrap();
        assert_eq!((key.tenant.as_str(), key.providers, key.expires_at), ("default", None, None));
        let missing = [("#/name", "required"), ("#/scopes", "required")];
        assert_eq!(read(json!({})), Err(missing.map(|(p, c)| (p.into(), c.into())).to_vec()));
    }

    #[test]
    fn a_scope_that_is_named_twice_is_had_once() {
        let key = read(json!({ "name": "hr", "scopes": ["admin", "invites:read", "admin"] }));
        assert_eq!(key.unwrap().scopes, ["invites:read", "admin"]);
    }

    #[test]
    fn a_key_may_lapse_at_the_end_of_time() {
        let key = |at: &str| json!({ "name": "hr", "scopes": ["admin"], "expires_at": at });
        let read_at = |at: &str| read(key(at)).unwrap().expires_at.unwrap();
        assert_eq!(read_at("9999-12-31T23:59:59Z"), whole_milliseconds(Timestamp::MAX));
        assert_eq!(read_at("2030-01-01T01:00:00+01:00").to_string(), "2030-01-01T00:00:00Z");
        assert_eq!(read(key("2030")), Err(vec![("#/expires_at".into(), "invalid".into())]));
    }

    #[test]
    fn every_fault_of_a_key_is_found_at_once() {
        let faults = read(json!({
            "name": " x", "scopes": ["admin", "everything", 1], "tenant": "", "providers": ["gone"],
            "requests_per_second": 0, "invites_per_second": 1e7, "invites_per_day": 1.5,
            "expires_at": "1969-12-31T00:00:00Z", "scope": 1,
        }));
        let expected = [
            ("#/name", "invalid"),
            ("#/scopes/1", "not-allowed"),
            ("#/scopes/2", "wrong-type"),
            ("#/tenant", "too-short"),
            ("#/requests_per_second", "out-of-range"),
            ("#/invites_per_second", "out-of-range"),
            ("#/invites_per_day", "wrong-type"),
            ("#/scope", "unknown-member"),
            ("#/providers/0", "unknown-provider"),
            ("#/expires_at", "out-of-range"),
        ];
        assert_eq!(faults.unwrap_err(), expected.map(|(p, c)| (p.into(), c.into())));
        let types = json!({ "name": 1, "scopes": [], "requests_per_second": "1", "expires_at": 1 });
        let expected = [
            ("#/name", "wrong-type"),
            ("#/scopes", "too-few"),
            ("#/requests_per_second", "wrong-type"),
            ("#/expires_at", "wrong-type"),
        ];
        assert_eq!(read(types).unwrap_err(), expected.map(|(p, c)| (p.into(), c.into())));
        assert_eq!(read(json!("x")).unwrap_err(), [("#".to_owned(), "wrong-type".to_owned())]);
    }
}
