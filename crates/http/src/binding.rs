//! Where the invites of a request go: routing, what the key allows, and what each provider needs of
//! an invite. Nothing is sent or stored here.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, LazyLock},
};

use invite_config::{Chosen, Configuration, RouteError};
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

/// The invites of a request, each bound to a provider where it is valid.
pub(crate) struct Binding {
    /// One for each invite and provider, and one for each invite that is invalid.
    pub items: Vec<NewItem>,
    /// What is wrong with the request outside of its invites.
    pub request_faults: Faults,
    /// What is wrong with its invites.
    pub item_faults: Faults,
}

/// Where an invite goes, or what is wrong with where it says that it goes.
type Routed = Result<Vec<Chosen>, Vec<Fault>>;

/// Binds what was read, to at most so many invites. With strict handling no more invites are bound once there are
/// more faults than an answer lists. It fails with 403 if any invite goes to a provider that the key may not use.
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
        // The request names a malformed `to`, which is a fault already; routing rules do not apply in its place.
        None => request_faults.iter().any(|f| is_within(f, "#/to")).then(|| Err(Vec::new())),
    };
    let routed: Vec<Option<Routed>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| route_item(names, item, index, shared.as_ref()))
        .collect();
    let place_of = |index: usize| match items[index].to.is_none() && to.is_some() {
        true => "#/to".to_owned(),
        false => format!("#/invites/{index}/to"),
    };
    require_allowed(&routed, place_of, caller)?;

    match &shared {
        Some(Ok(chosen)) => request_faults.extend(find_disabled(chosen, "#/to")),
        Some(Err(faults)) => request_faults.extend(faults.iter().cloned()),
        None => {}
    }
    let item_faults = Faults::default();
    let mut binding = Binding { items: Vec::new(), request_faults, item_faults };
    binding.items.reserve(items.len());
    for (index, (item, mut routed)) in items.into_iter().zip(routed).enumerate() {
        if handling == Handling::Strict && binding.item_faults.is_full() {
            break;
        }
        if (item.to.is_some() || to.is_none())
            && let Some(Ok(chosen)) = &routed
        {
            let disabled = find_disabled(chosen, &format!("#/invites/{index}/to"));
            routed = if disabled.is_empty() { routed } else { Some(Err(disabled)) };
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
            Some(Ok(chosen)) => {
                let of_options = check_options(&invite.options, &chosen, kinds);
                faults.extend(of_options.map(|fault| fault.under(&at)));
                for chosen in chosen {
                    if faults.is_full() {
                        break;
                    }
                    match place(chosen, &invite, &at) {
                        Ok(placement) => placements.push(placement),
                        Err(found) => add_unless_known(&mut faults, found),
                    }
                }
            }
            Some(Err(found)) => faults.extend(found),
            // Where it goes cannot be found out. Why is among the faults of the invite or of the request.
            None => {}
        }
        if !faults.is_empty() || placements.is_empty() {
            let error = Problem::invalid_item(faults.to_vec()).to_reason();
            placements = vec![Placement::Refused { error }];
            // It goes nowhere, so of its person only the address is kept, by which erasing them finds it.
            let email = address.as_ref().map(|_| invite.invitee.email).unwrap_or_default();
            invite.invitee = Invitee { email, ..Invitee::default() };
        }
        self.item_faults.extend(faults);
        let NewInvite { invitee, external_id, labels, .. } = invite;
        // `repeat_n` clones for all but the last, and hardly any invite goes to several providers.
        let parts = std::iter::repeat_n((invitee, address, external_id, labels), placements.len());
        let items = parts.zip(placements).map(|(parts, placement)| {
            let (invitee, address, external_id, labels) = parts;
            let id = InviteId::generate();
            NewItem { id, index, invitee, address, external_id, labels, placement }
        });
        self.items.extend(items);
    }
}

/// Adds the faults at places that have none yet. Several providers of one kind find the same fault; and
/// what is malformed was left out, so that a provider that needs it finds it missing.
fn add_unless_known(faults: &mut Faults, found: Vec<Fault>) {
    let mut known: HashSet<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
    faults.extend(found.into_iter().filter(|fault| known.insert(fault.pointer.clone())));
}

/// Whether a fault is about this member or something in it.
fn is_within(fault: &Fault, member: &str) -> bool {
    fault.pointer.strip_prefix(member).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Routes one invite. `None` where what routing needs is malformed, which is a fault already.
fn route_item(
    names: &mut Names<'_>,
    item: &Item,
    index: usize,
    shared: Option<&Routed>,
) -> Option<Routed> {
    let at = format!("#/invites/{index}");
    let malformed = |member: &str| item.faults.iter().any(|fault| is_within(fault, member));
    if item.faults.iter().any(|fault| fault.pointer.is_empty()) {
        return None; // It is no object, so there is nothing to route it by.
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
                Ok(chosen) => Ok(chosen),
                Err(error) => Err(vec![Fault::new(at, codes::NO_ROUTE.word, error.to_string())]),
            })
        }
    }
}

/// Routing to named targets asks for an address and does not use it.
static ANYONE: LazyLock<Address> =
    LazyLock::new(|| "anyone@example.org".parse().expect("a constant that is an address"));

/// Finds what the names in a request stand for.
struct Names<'a> {
    configuration: &'a Configuration,
    /// For how many unknown names it is still looked up what was probably meant, which compares each with
    /// all names that there are.
    suggestions_left: usize,
}

impl Names<'_> {
    fn route(&mut self, targets: &Targets, at: &str) -> Routed {
        let configuration = self.configuration;
        let labels = BTreeMap::new();
        let route = |names: &[String]| configuration.route(Some(names), &labels, &ANYONE);
        if let Ok(chosen) = route(targets.names()) {
            return Ok(chosen);
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
                        let meant = configuration.nearest_name(name);
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

fn find_disabled(chosen: &[Chosen], at: &str) -> Vec<Fault> {
    let disabled = chosen.iter().filter(|chosen| !chosen.provider.enabled);
    let fault = |chosen: &Chosen| {
        let detail = format!("the provider `{}` takes no new invites", chosen.provider.name);
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
        let Some(Ok(chosen)) = routed else { continue };
        let names = chosen.iter().map(|chosen| &chosen.provider.name);
        for name in names.filter(|name| !caller.may_use(name)) {
            let detail = format!("this key may not use the provider `{name}`");
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

/// The faults of options for kinds that the invite does not go to.
fn check_options<'a>(
    options: &'a BTreeMap<String, Value>,
    chosen: &'a [Chosen],
    kinds: &'a [Arc<ProviderKind>],
) -> impl Iterator<Item = Fault> + 'a {
    let is_for =
        |kind: &&String| chosen.iter().any(|chosen| chosen.provider.kind.name == kind.as_str());
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

fn place(chosen: Chosen, invite: &NewInvite, at: &str) -> Result<Placement, Vec<Fault>> {
    let Chosen { provider, route } = chosen;
    match provider.adapter.resolve(invite) {
        Ok(resolved) => Ok(Placement::Bound {
            provider: provider.name.clone(),
            kind: provider.kind.name.to_owned(),
            destination: resolved.destination,
            call_key: resolved.call_key,
            params: resolved.params,
            route,
        }),
        Err(faults) => {
            Err(faults.into_iter().map(|fault| named(fault, &provider.name).under(at)).collect())
        }
    }
}

/// The fault with the name of the provider that finds it.
fn named(fault: Fault, provider: &str) -> Fault {
    if fault.detail.contains(provider) {
        return fault;
    }
    Fault { detail: format!("{provider}: {}", fault.detail), ..fault }
}
