//! Where the invites of a request go: routing, what the key allows, and what each provider needs
//! of an invite. Pure: nothing is sent or stored.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, LazyLock},
};

use invite_config::{Configuration, Provider, RouteError};
use invite_core::{
    Address, Fault, Faults, InviteId, Invitee, MAX_FAULTS, NewInvite, ProviderKind,
    schema::{escape, nearest},
};
use invite_store::{NewItem, Placement};
use serde_json::Value;

use crate::{
    auth::Caller,
    prefer::Handling,
    problem::{Problem, codes},
    submission::{Item, Submission, Targets},
};

/// A request's invites, bound to their providers as far as they are valid.
pub(crate) struct Binding {
    /// One per invite and provider; one per invalid invite.
    pub items: Vec<NewItem>,
    /// What is wrong with the request outside of its invites.
    pub request_faults: Faults,
    /// What is wrong with its invites.
    pub item_faults: Faults,
}

/// Where something goes, or why it goes nowhere.
type Routed = Result<Vec<Arc<Provider>>, Vec<Fault>>;

/// Binds what was read, to at most so many invites. Unless it is accepted for its good invites (`handling` is lenient), no
/// invites are bound behind those with more faults than are listed.
///
/// # Errors
/// 403 if any invite goes to a provider that the key may not use.
pub(crate) fn bind(
    submission: Submission,
    configuration: &Configuration,
    kinds: &[Arc<ProviderKind>],
    caller: &Caller,
    handling: Handling,
    most: usize,
) -> Result<Binding, Problem> {
    let Submission { to, items, faults: mut request_faults, .. } = submission;
    let names = &mut Names { configuration, suggestions_left: MAX_FAULTS };
    let shared = match &to {
        Some(targets) => Some(names.route(targets, "#")),
        // Its fault is known; the rules are not to be asked in its place.
        None => request_faults.iter().any(|f| is_at(f, "#/to")).then(|| Err(Vec::new())),
    };
    let routed: Vec<Option<Routed>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| route_item(names, item, index, shared.as_ref()))
        .collect();
    let is_shared = |index: usize| items[index].to.is_none() && to.is_some();
    let place_of = |index: usize| match is_shared(index) {
        true => "#/to".to_owned(),
        false => format!("#/invites/{index}/to"),
    };
    require_allowed(&routed, place_of, caller)?;

    match &shared {
        Some(Ok(providers)) => request_faults.extend(find_disabled(providers, "#/to")),
        Some(Err(faults)) => request_faults.extend(faults.iter().cloned()),
        None => {}
    }
    let routed: Vec<_> = routed
        .into_iter()
        .enumerate()
        .map(|(index, routed)| match routed {
            Some(Ok(providers)) if !is_shared(index) => {
                let disabled = find_disabled(&providers, &place_of(index));
                Some(if disabled.is_empty() { Ok(providers) } else { Err(disabled) })
            }
            routed => routed,
        })
        .collect();
    let item_faults = Faults::default();
    let mut binding = Binding { items: Vec::new(), request_faults, item_faults };
    binding.items.reserve(items.len());
    for (index, (item, routed)) in items.into_iter().zip(routed).enumerate() {
        if handling == Handling::Strict && binding.item_faults.is_full() {
            break;
        }
        binding.add(index, item, routed, kinds);
        if binding.items.len() > most {
            let detail = format!(
                "the request makes more than {most} invites, as each goes to every destination that it \
                 names: send fewer at once"
            );
            binding.request_faults.push(Fault::new("#/invites", "too-many", detail));
            break;
        }
    }
    Ok(binding)
}

impl Binding {
    fn add(
        &mut self,
        index: usize,
        item: Item,
        routed: Option<Routed>,
        kinds: &[Arc<ProviderKind>],
    ) {
        let at = format!("#/invites/{index}");
        let Item { mut invite, address, faults, .. } = item;
        let mut faults = faults.under(&at);
        let mut placements = Vec::new();
        match routed {
            Some(Ok(providers)) => {
                let of_options = check_options(&invite.options, &providers, kinds);
                faults.extend(of_options.map(|fault| fault.under(&at)));
                for provider in &providers {
                    if faults.is_full() {
                        break;
                    }
                    match place(provider, &invite, &at) {
                        Ok(placement) => placements.push(placement),
                        Err(found) => add_unless_known(&mut faults, found),
                    }
                }
            }
            Some(Err(found)) => faults.extend(found),
            // Where it goes cannot be told; why stands among the faults of it or of the request.
            None => {}
        }
        if !faults.is_empty() || placements.is_empty() {
            let error = Problem::invalid_item(faults.to_vec()).to_reason();
            placements = vec![Placement::Refused { error }];
            // It goes nowhere, so that of the person only what erasing them finds is kept.
            let email = address.as_ref().map(|_| invite.invitee.email).unwrap_or_default();
            invite.invitee = Invitee { email, ..Invitee::default() };
        }
        self.item_faults.extend(faults);
        let NewInvite { invitee, external_id, labels, .. } = invite;
        // The last one is moved; hardly any invite goes to several providers.
        let parts = std::iter::repeat_n((invitee, address, external_id, labels), placements.len());
        let items = parts.zip(placements).map(|(parts, placement)| {
            let (invitee, address, external_id, labels) = parts;
            let id = InviteId::generate();
            NewItem { id, index, invitee, address, external_id, labels, placement }
        });
        self.items.extend(items);
    }
}

/// Several providers of one kind find the same fault; and what is malformed was left out, so that a
/// provider which needs it finds it missing.
fn add_unless_known(faults: &mut Faults, found: Vec<Fault>) {
    let mut known: HashSet<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
    faults.extend(found.into_iter().filter(|fault| known.insert(fault.pointer.clone())));
}

/// Whether a fault is that of a member, or of something in it.
fn is_at(fault: &Fault, member: &str) -> bool {
    fault.pointer.strip_prefix(member).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `None`: what routing needs is malformed, which is a fault already.
fn route_item(
    names: &mut Names<'_>,
    item: &Item,
    index: usize,
    shared: Option<&Routed>,
) -> Option<Routed> {
    let at = format!("#/invites/{index}");
    let malformed = |member: &str| item.faults.iter().any(|fault| is_at(fault, member));
    if item.faults.iter().any(|fault| fault.pointer.is_empty()) {
        return None; // No object: nothing can be asked of what it holds.
    }
    match (&item.to, shared) {
        (Some(targets), _) => Some(names.route(targets, &at)),
        (None, _) if malformed("/to") || malformed("/labels") && shared.is_none() => None,
        (None, Some(shared)) => shared.as_ref().ok().cloned().map(Ok),
        (None, None) => {
            let address = item.address.as_ref()?;
            let routed = names.configuration.route(None, &item.invite.labels, address);
            let at = format!("{at}/to");
            Some(match routed {
                Ok(providers) => Ok(providers),
                Err(error) => Err(vec![Fault::new(at, codes::NO_ROUTE.word, error.to_string())]),
            })
        }
    }
}

/// Named targets do not depend on the address; routing asks for one all the same.
static ANYONE: LazyLock<Address> =
    LazyLock::new(|| "anyone@example.org".parse().expect("a constant that is an address"));

/// What the names in a request stand for.
struct Names<'a> {
    configuration: &'a Configuration,
    /// For so many that stand for nothing it is still found out what was meant: each takes a look at all
    /// names that there are.
    suggestions_left: usize,
}

impl Names<'_> {
    fn route(&mut self, targets: &Targets, at: &str) -> Routed {
        let configuration = self.configuration;
        let labels = BTreeMap::new();
        let route = |names: &[String]| configuration.route(Some(names), &labels, &ANYONE);
        if let Ok(providers) = route(targets.names()) {
            return Ok(providers);
        }
        let faults = targets.names().iter().enumerate().filter_map(|(index, name)| {
            let pointer = format!("{at}{}", targets.pointer(index));
            match route(std::slice::from_ref(name)) {
                Ok(_) => None,
                Err(RouteError::Unknown { .. }) => {
                    let detail = "this names neither a provider nor a route";
                    let mut fault = Fault::new(pointer, "unknown-destination", detail);
                    if self.suggestions_left > 0 {
                        self.suggestions_left -= 1;
                        let meant = configuration.nearest_destination(name);
                        fault.suggestion = meant.map(str::to_owned);
                    }
                    Some(fault)
                }
                Err(error) => Some(Fault::new(pointer, codes::NO_ROUTE.word, error.to_string())),
            }
        });
        Err(faults.collect())
    }
}

fn find_disabled(providers: &[Arc<Provider>], at: &str) -> Vec<Fault> {
    let disabled = providers.iter().filter(|provider| !provider.enabled);
    let fault = |provider: &Arc<Provider>| {
        let detail = format!("the provider `{}` takes no new invites", provider.name);
        Fault::new(at, codes::PROVIDER_DISABLED.word, detail)
    };
    disabled.map(fault).collect()
}

fn require_allowed(
    routed: &[Option<Routed>],
    place_of: impl Fn(usize) -> String,
    caller: &Caller,
) -> Result<(), Problem> {
    if caller.providers().is_none() {
        return Ok(());
    }
    let mut faults = Faults::default();
    for (index, routed) in routed.iter().enumerate() {
        if faults.is_full() {
            break;
        }
        let Some(Ok(providers)) = routed else { continue };
        for provider in providers.iter().filter(|provider| !caller.may_use(&provider.name)) {
            let detail = format!("this key may not use the provider `{}`", provider.name);
            let fault = Fault::new(place_of(index), codes::PROVIDER_NOT_ALLOWED.word, detail);
            if faults.last() != Some(&fault) {
                faults.push(fault);
            }
        }
    }
    let Some(first) = faults.first() else { return Ok(()) };
    let detail = first.detail.clone();
    Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail).with_errors(faults.into_vec()))
}

/// Options are for the kinds that the invite goes to.
fn check_options<'a>(
    options: &'a BTreeMap<String, Value>,
    providers: &'a [Arc<Provider>],
    kinds: &'a [Arc<ProviderKind>],
) -> impl Iterator<Item = Fault> + 'a {
    let is_for =
        |kind: &&String| providers.iter().any(|provider| provider.kind.name == kind.as_str());
    options.keys().filter(move |kind| !is_for(kind)).map(|kind| {
        let pointer = format!("/options/{}", escape(kind));
        if kinds.iter().any(|known| known.name == kind) {
            let detail = format!("the invite goes to no provider of the kind {kind}");
            return Fault::new(pointer, "not-routed", detail);
        }
        let suggestion = nearest(kind, kinds.iter().map(|kind| kind.name)).map(str::to_owned);
        let detail = "there is no such provider kind";
        Fault { suggestion, ..Fault::new(pointer, "unknown-kind", detail) }
    })
}

fn place(provider: &Provider, invite: &NewInvite, at: &str) -> Result<Placement, Vec<Fault>> {
    match provider.adapter.resolve(invite) {
        Ok(resolved) => Ok(Placement::Bound {
            provider: provider.name.clone(),
            kind: provider.kind.name.to_owned(),
            destination: resolved.destination,
            call_key: resolved.call_key,
            params: resolved.params,
        }),
        Err(faults) => {
            Err(faults.into_iter().map(|fault| named(fault, &provider.name).under(at)).collect())
        }
    }
}

/// A fault that says which provider finds it.
fn named(fault: Fault, provider: &str) -> Fault {
    if fault.detail.contains(provider) {
        return fault;
    }
    Fault { detail: format!("{provider}: {}", fault.detail), ..fault }
}
