//! The part of the contract suite that runs against a live account (`tests/run --live`): built from
//! the provider document as the gateway would build it, and chosen by what the provider can do.
//!
//! Without an address to send to only what has no effect is done: asking, and refusing what is not
//! offered. A wrong credential is never tried, because some services lock an account for it.
//!
//! There are no tests unless LIVE_PROVIDERS (a provider document) and LIVE_PROVIDER (a name in it)
//! are set, so that none passes without having been asked for. With LIVE_SEND_TO one real invite
//! goes to that address.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a check fails by panicking, and what it saw is for the person who runs it"
)]

use std::{fs, process::ExitCode, sync::Arc, time::Duration};

use invite_config::{Gate, Provider, Rules};
use invite_core::{
    Cause, Clock, Doubt, InviteId, InviteProvider, Invitee, ListQuery, Lookup, NewInvite, Observed,
    Outcome, Recipient, Remote, Resolved, Sighting, Status, StatusSource, SystemClock,
    http::CallContext,
};
use libtest_mimic::{Arguments, Trial};
use tokio::time::{Instant, Interval, interval_at};

/// An address that nobody has (RFC 2606), for what is asked without an effect.
const NOBODY: &str = "contract-suite@example.org";

/// How often a call that the provider is still working on is asked about.
const LOOKS: usize = 20;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(why) => {
            eprintln!("contract-live: {why}");
            ExitCode::from(2)
        }
    }
}

/// The checks for the provider that is asked for.
fn trials() -> Result<Vec<Trial>, String> {
    let (document, name) = match (setting("LIVE_PROVIDERS"), setting("LIVE_PROVIDER")) {
        (Some(document), Some(name)) => (document, name),
        (None, None) => {
            eprintln!("contract-live: not asked for; see tests/run --live");
            return Ok(Vec::new());
        }
        _ => return Err("set LIVE_PROVIDERS and LIVE_PROVIDER, or neither".into()),
    };
    let provider = built(&document, &name)?;
    let capabilities = provider.adapter.capabilities().clone();
    let mut trials = vec![
        trial(&provider, "the_credential_passes_the_probe", probe),
        trial(&provider, "a_dry_run_renders_a_call_and_sends_nothing", dry_run),
    ];
    if capabilities.list {
        trials.push(trial(&provider, "the_first_page_of_the_list_is_read", list));
    }
    if capabilities.get {
        trials.push(trial(&provider, "an_id_that_is_not_known_is_no_invite", get_unknown));
    }
    if capabilities.update_status.len() < Status::ALL.len() {
        trials.push(trial(&provider, "a_status_that_is_not_listed_is_unsupported", unsupported));
    }
    if let Some(address) = setting("LIVE_SEND_TO") {
        let name = "an_invite_is_created_found_and_withdrawn_where_that_is_offered";
        trials.push(trial(&provider, name, async move |account: &mut Account| {
            send(account, &address).await
        }));
    }
    Ok(trials)
}

#[expect(clippy::disallowed_methods, reason = "how a live run is asked for")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The provider, through the gate that every document passes.
fn built(document: &str, name: &str) -> Result<Arc<Provider>, String> {
    let text = fs::read_to_string(document).map_err(|error| format!("{document}: {error}"))?;
    let rules = Rules::new(Duration::from_secs(60), vec!["127.0.0.1".to_owned()]);
    let checked = Gate::new(invite_kinds::all(), rules, Arc::new(SystemClock)).check(&text);
    let configuration = checked.configuration.ok_or_else(|| {
        let findings = checked.findings.iter().map(|finding| format!("\n  {finding}"));
        format!("{document} does not pass the checks:{}", findings.collect::<String>())
    })?;
    let found = configuration.provider(name).cloned();
    found.ok_or_else(|| format!("{document} has no provider `{name}`"))
}

fn trial(
    provider: &Arc<Provider>,
    name: &str,
    check: impl AsyncFnOnce(&mut Account) + Send + 'static,
) -> Trial {
    let provider = provider.clone();
    Trial::test(format!("{}::{name}", provider.name), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { check(&mut Account::of(provider)).await });
        Ok(())
    })
}

/// The account of a provider, asked no faster than its limits allow.
struct Account {
    provider: Arc<Provider>,
    pace: Interval,
}

impl Account {
    fn of(provider: Arc<Provider>) -> Self {
        // An operation makes about two requests. The test before this one may just have ended.
        let period = Duration::from_secs_f64(2.0 / provider.limits.requests_per_second);
        Self { provider, pace: interval_at(Instant::now() + period, period) }
    }

    fn adapter(&self) -> Arc<dyn InviteProvider> {
        self.provider.adapter.clone()
    }

    /// The next attempt.
    async fn turn(&mut self) -> CallContext {
        self.pace.tick().await;
        CallContext::new(self.provider.limits.timeout)
    }

    /// An invite to this address, as the provider binds it.
    fn recipient(&self, address: &str) -> Recipient {
        let invitee = Invitee {
            email: address.into(),
            first_name: Some("Contract".into()),
            last_name: Some("Suite".into()),
            // Numbers like this one are kept for fiction.
            phone: Some("+12025550123".into()),
            message: Some("A test of the invite gateway; please ignore it.".into()),
        };
        let invite = NewInvite { invitee: invitee.clone(), ..NewInvite::default() };
        let Resolved { destination, params, .. } = self.provider.adapter.resolve(&invite).unwrap();
        let address = address.parse().unwrap();
        Recipient { id: InviteId::generate(), invitee, address, destination, params }
    }
}

fn remote(recipient: &Recipient, observed: &Observed) -> Remote {
    Remote {
        destination: recipient.destination.clone(),
        provider_ref: observed.provider_ref.clone(),
        data: observed.data.clone(),
        invitee: recipient.invitee.clone(),
        address: recipient.address.clone(),
        index: 0,
        status: observed.status,
        expires_at: observed.expires_at,
        revoke_sent: false,
    }
}

async fn probe(account: &mut Account) {
    let report = account.adapter().probe(&account.turn().await).await.unwrap();
    println!("{}", report.detail);
}

async fn dry_run(account: &mut Account) {
    let context = CallContext::offline();
    let recipients = [account.recipient(NOBODY)];
    let call = account.adapter().prepare(&context, &recipients, SystemClock.now()).await.unwrap();
    assert!(call.body.contains(NOBODY));
    let error = account.adapter().create(&context, &call, &recipients).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotSent);
}

async fn list(account: &mut Account) {
    let page = account.adapter().list(&account.turn().await, &ListQuery::default()).await.unwrap();
    let more = if page.next_cursor.is_some() { "and more" } else { "in all" };
    println!("{} invites {more}", page.invites.len());
    assert!(page.invites.iter().all(|invite| invite.provider_ref.is_some()));
}

async fn get_unknown(account: &mut Account) {
    let id = "0b7d8a5e-8f57-4d0e-9d0c-2f4b8d1e6a03".to_owned();
    let observed = Observed::new(Some(id), Status::Pending);
    let remote = remote(&account.recipient(NOBODY), &observed);
    match account.adapter().get(&account.turn().await, &remote).await {
        Ok(observed) => assert_eq!(observed.source, StatusSource::Inferred),
        Err(error) => {
            assert_eq!(
                (error.outcome, error.cause),
                (Outcome::Rejected, Cause::NotFound),
                "{error}"
            );
        }
    }
}

async fn unsupported(account: &mut Account) {
    let observed = Observed::new(Some("none".into()), Status::Pending);
    let remote = remote(&account.recipient(NOBODY), &observed);
    let listed = account.adapter().capabilities().update_status.clone();
    for status in Status::ALL.iter().filter(|status| !listed.contains(status)) {
        let context = account.turn().await;
        let error = account.adapter().update_status(&context, &remote, *status).await.unwrap_err();
        assert_eq!(error.cause, Cause::Unsupported, "{error}");
        assert!(context.exchanges().is_empty(), "a request was sent");
    }
}

async fn send(account: &mut Account, address: &str) {
    let adapter = account.adapter();
    let recipients = [account.recipient(address)];
    let began = SystemClock.now();
    let call = adapter.prepare(&account.turn().await, &recipients, began).await.unwrap();
    let created = adapter.create(&account.turn().await, &call, &recipients).await.unwrap();
    let mut observed = created.into_iter().next().unwrap().unwrap();
    for _ in 0..LOOKS {
        if observed.status != Status::Sending {
            break;
        }
        let remote = remote(&recipients[0], &observed);
        observed = adapter.get(&account.turn().await, &remote).await.unwrap();
    }
    println!("created: {observed:?}");
    let doubt = Doubt {
        call,
        recipients: recipients.to_vec(),
        first_attempts: vec![began; recipients.len()],
        absence_counts: vec![true; recipients.len()],
        started_at: began,
        data: observed.data.clone(),
    };
    let seen = look(account, doubt).await;
    let found = seen.exact.iter().any(|exact| exact.provider_ref == observed.provider_ref);
    assert!(found, "a lookup does not find what was created");
    if observed.provider_ref.is_none() {
        println!("it waits for an approval: reject it there");
        return;
    }
    let remote = remote(&recipients[0], &observed);
    let shown = adapter.get(&account.turn().await, &remote).await.unwrap();
    assert_eq!(shown.provider_ref, observed.provider_ref);
    if adapter.capabilities().revoke {
        let withdrawn = adapter.revoke(&account.turn().await, &remote, false).await.unwrap();
        println!("withdrawn: {withdrawn:?}");
        assert!(matches!(withdrawn.status, Status::Revoked | Status::Pending));
    } else {
        println!("it cannot be withdrawn through this provider: it stays there");
    }
}

async fn look(account: &mut Account, doubt: Doubt) -> Sighting {
    let destination = doubt.call.destination.clone();
    let mut lookup = account.adapter().reconcile(Lookup { destination, doubts: vec![doubt] });
    loop {
        if let Some(seen) = lookup.step(&account.turn().await).await.unwrap() {
            return seen.into_iter().flatten().next().unwrap();
        }
    }
}
