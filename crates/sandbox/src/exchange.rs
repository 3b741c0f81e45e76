//! One request at a simulator: rate limit, faults, the provider's own answer, journal. `server` shows the outcome on
//! the socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::clock;
use crate::fault::{FaultScript, Faults, Kind, Rule};
use crate::journal::Journal;
use crate::simulator::{Call, Refusal, Reply, Simulator, locked, set_header, text};

/// The largest request that is read, in bytes: more than a gateway needs.
const LARGEST_BODY: usize = 16 << 20;
/// How long silence lasts unless a rule says otherwise: longer than any caller waits.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// A slow body arrives in so many pieces.
const SLOW_PIECES: usize = 8;

/// What the caller gets.
#[derive(Debug)]
pub(crate) enum Outcome {
    Whole(Reply),
    /// The headers and the first half of the body, and then the end of the connection.
    Half(Reply),
    /// The headers and the first half of the body, silence for so long, and then the end of the connection.
    Stalled(Reply, Duration),
    /// Silence for so long, and then the end of the connection.
    Silent(Duration),
    /// The body in pieces, with a pause before each.
    Slow(Reply, Duration),
    /// The headers, then this many bytes of white space instead of the body.
    Huge(Reply, usize),
    Cut(Cut),
}

/// How a connection ends without an answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Cut {
    /// The provider closed it (FIN).
    #[error("closed without an answer")]
    Closed,
    /// The provider reset it (RST).
    #[error("reset without an answer")]
    Reset,
}

/// A simulator, and what happens to requests on their way to it.
pub(crate) struct Exchange {
    simulator: Mutex<Box<dyn Simulator>>,
    pub faults: Faults,
    pub journal: Journal,
    bucket: Mutex<Option<Bucket>>,
    /// Counts resets, so that an effect which is late is dropped if a reset came before it.
    resets: AtomicU64,
}

impl Exchange {
    pub fn new(simulator: Box<dyn Simulator>, script: Option<&FaultScript>) -> Arc<Self> {
        let faults = Faults::new(simulator.account().kind, script);
        Arc::new(Self {
            simulator: Mutex::new(simulator),
            faults,
            journal: Journal::default(),
            bucket: Mutex::default(),
            resets: AtomicU64::new(0),
        })
    }

    pub fn simulator(&self) -> MutexGuard<'_, Box<dyn Simulator>> {
        locked(&self.simulator)
    }

    /// Goes back to the state of the start.
    pub fn reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
        self.simulator().reset();
        self.faults.reset();
        self.journal.clear();
        *locked(&self.bucket) = None;
    }

    /// The `Date` of an answer, by the simulator's own clock.
    pub fn date(&self) -> String {
        clock::http_date(self.simulator().shared().now())
    }

    /// Takes a request in and works out what the caller gets.
    pub async fn answer(self: Arc<Self>, parts: Parts, body: Incoming) -> Outcome {
        let path = parts.uri.path().to_owned();
        let operation = self.simulator().operation(&parts.method, &path);
        let number = self.journal.open(operation, parts.method.as_str(), &path);
        if let Some(rule) = self.faults.early(operation) {
            let outcome = match rule.kind {
                Kind::SilentUnread => Outcome::Silent(rule.delay_or(SILENCE)),
                _ => Outcome::Cut(Cut::Reset),
            };
            return self.finish(number, Some(rule.kind), outcome);
        }
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return self.finish(number, None, Outcome::Cut(Cut::Closed));
        };
        let call = Call {
            number,
            method: parts.method,
            path,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body: body.to_bytes(),
            only_first: None,
        };
        let goes_to = |place: &str| self.simulator().destination(&call).as_deref() == Some(place);
        let verdict = self.faults.verdict(operation, |email| holds(&call, email), goes_to);
        tokio::time::sleep(verdict.latency).await;
        let kind = verdict.rule.as_ref().map(|rule| rule.kind);
        let outcome = match verdict.rule {
            Some(rule) => self.apply(call, &rule).await,
            None => Outcome::Whole(self.metered(&call)),
        };
        self.finish(number, kind, outcome)
    }

    /// The provider's answer, unless its rate limit is reached.
    fn metered(&self, call: &Call) -> Reply {
        let mut simulator = self.simulator();
        let Some(rate) = simulator.shared().rate_per_second.filter(|rate| *rate > 0.0) else {
            return simulator.answer(call);
        };
        let taken = Bucket::take(&mut locked(&self.bucket), rate);
        let mut reply = match taken {
            Ok(_) => simulator.answer(call),
            Err(wait) => {
                let seconds = wait.as_secs_f64().ceil() as u64;
                let wait = Some(seconds.max(1).to_string());
                simulator.refuse(Refusal::RateLimited { wait })
            }
        };
        simulator.show_rate(reply.headers_mut(), rate, taken.unwrap_or(0.0));
        reply
    }

    /// Carries a fault out, as the README's table of kinds says.
    async fn apply(self: &Arc<Self>, mut call: Call, rule: &Rule) -> Outcome {
        let server_error = StatusCode::INTERNAL_SERVER_ERROR;
        if !rule.kind.has_own_delay() {
            tokio::time::sleep(rule.delay_or(Duration::ZERO)).await;
        }
        match rule.kind {
            Kind::Latency | Kind::ResetBeforeRead | Kind::SilentUnread => {
                Outcome::Whole(self.metered(&call))
            }
            Kind::SilentBefore => Outcome::Silent(rule.delay_or(SILENCE)),
            Kind::SilentAfter => {
                self.metered(&call);
                Outcome::Silent(rule.delay_or(SILENCE))
            }
            Kind::SilentMidBody => Outcome::Stalled(self.metered(&call), rule.delay_or(SILENCE)),
            Kind::LatencyAfter => {
                let reply = self.metered(&call);
                tokio::time::sleep(rule.delay_or(Duration::from_secs(1))).await;
                Outcome::Whole(reply)
            }
            Kind::StatusBefore => Outcome::Whole(self.scripted(rule, server_error)),
            Kind::StatusAfter => {
                self.metered(&call);
                Outcome::Whole(self.scripted(rule, server_error))
            }
            Kind::CutBefore => Outcome::Cut(Cut::Closed),
            Kind::CutAfter => {
                self.metered(&call);
                Outcome::Cut(Cut::Closed)
            }
            Kind::CutMidBody => Outcome::Half(self.metered(&call)),
            Kind::GarbageBefore => Outcome::Whole(garbage(rule)),
            Kind::GarbageAfter => {
                self.metered(&call);
                Outcome::Whole(garbage(rule))
            }
            Kind::RateLimited => {
                let simulator = self.simulator();
                let wait = rule.wait(simulator.shared().now());
                Outcome::Whole(simulator.refuse(Refusal::RateLimited { wait }))
            }
            Kind::Quota => Outcome::Whole(self.simulator().refuse(Refusal::Quota)),
            Kind::SlowBody => {
                let pause = rule.delay_or(Duration::from_millis(200));
                Outcome::Slow(self.metered(&call), pause)
            }
            Kind::HugeBody => Outcome::Huge(self.metered(&call), rule.size),
            Kind::Partial => {
                call.only_first = Some(rule.items);
                let reply = self.metered(&call);
                let short = rule.status_or(server_error).is_success();
                Outcome::Whole(if short { reply } else { self.scripted(rule, server_error) })
            }
            Kind::LateEffect => self.postponed(call, rule.delay_or(Duration::from_millis(200))),
            Kind::Redirect => Outcome::Whole(redirect(&call, rule)),
        }
    }

    /// Cuts the connection now and lets the call take effect later.
    fn postponed(self: &Arc<Self>, call: Call, delay: Duration) -> Outcome {
        let exchange = Arc::clone(self);
        let resets = self.resets.load(Ordering::SeqCst);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if exchange.resets.load(Ordering::SeqCst) == resets {
                exchange.simulator().answer(&call);
            }
        });
        Outcome::Cut(Cut::Closed)
    }

    /// The answer that a rule asks for. If the rule has no body, the provider's own for that status is used.
    fn scripted(&self, rule: &Rule, default: StatusCode) -> Reply {
        let status = rule.status_or(default);
        let mut reply = match &rule.body {
            Some(body) => with_body(status, rule, body),
            None => self.simulator().refuse(Refusal::Status(status)),
        };
        let now = self.simulator().shared().now();
        if let Some(wait) = rule.wait(now) {
            set_header(reply.headers_mut(), "retry-after", &wait);
        }
        reply
    }

    /// Puts date, rate limit and the request's id on the answer, and enters it in the journal.
    fn finish(&self, number: u64, fault: Option<Kind>, mut outcome: Outcome) -> Outcome {
        let shared = self.simulator().shared().clone();
        let date = clock::http_date(shared.now());
        let (status, cut) = match &mut outcome {
            Outcome::Cut(Cut::Closed) => (None, Some("closed")),
            Outcome::Cut(Cut::Reset) => (None, Some("reset")),
            Outcome::Silent(_) => (None, Some("silent")),
            Outcome::Half(reply) => (Some(reply), Some("mid_body")),
            Outcome::Stalled(reply, _) => (Some(reply), Some("silent_mid_body")),
            Outcome::Whole(reply) | Outcome::Slow(reply, _) | Outcome::Huge(reply, _) => {
                (Some(reply), None)
            }
        };
        let status = status.map(|reply| {
            set_header(reply.headers_mut(), "date", &date);
            let id = format!("{}-{number}", self.faults.provider);
            set_header(reply.headers_mut(), "x-request-id", &id);
            if let Some(told) = &shared.rate_told {
                let reset = told.form.written(told.reset_in_ms, shared.now());
                let remaining = told.remaining.to_string();
                set_header(reply.headers_mut(), "ratelimit-remaining", &remaining);
                set_header(reply.headers_mut(), "ratelimit-reset", &reset);
            }
            reply.status().as_u16()
        });
        let provider = self.faults.provider;
        tracing::debug!(provider, number, ?status, ?cut, ?fault, "a request was answered");
        self.journal.close(number, status, cut, fault);
        outcome
    }
}

/// Whether a request contains an address, in its body or its query.
fn holds(call: &Call, email: &str) -> bool {
    let in_body = String::from_utf8_lossy(&call.body).contains(email);
    let query = call.query.as_deref().unwrap_or_default().as_bytes();
    in_body || url::form_urlencoded::parse(query).any(|(_, value)| value.contains(email))
}

fn with_body(status: StatusCode, rule: &Rule, body: &Value) -> Reply {
    let (default_type, body) = match body {
        Value::String(text) if serde_json::from_str::<Value>(text).is_err() => {
            ("text/html; charset=utf-8", text.clone())
        }
        Value::String(text) => ("application/json", text.clone()),
        other => ("application/json", other.to_string()),
    };
    text(status, rule.content_type.as_deref().unwrap_or(default_type), body)
}

/// An answer that claims to be JSON and is not.
fn garbage(rule: &Rule) -> Reply {
    let body = match &rule.body {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "{\"id\": \"trunc".to_owned(),
    };
    let content_type = rule.content_type.as_deref().unwrap_or("application/json");
    text(rule.status_or(StatusCode::OK), content_type, body)
}

fn redirect(call: &Call, rule: &Rule) -> Reply {
    let mut reply =
        text(rule.status_or(StatusCode::TEMPORARY_REDIRECT), "text/plain", Bytes::new());
    // The place is another host, so that whoever follows would hand credentials to a stranger.
    let elsewhere = format!("http://redirected.invalid{}", call.path);
    let location = rule.location.clone().unwrap_or(elsewhere);
    if let Ok(value) = HeaderValue::from_str(&location) {
        reply.headers_mut().insert(header::LOCATION, value);
    }
    reply
}

pub(crate) fn slow_pieces(body: &Bytes) -> Vec<Bytes> {
    let length = body.len().div_ceil(SLOW_PIECES).max(1);
    body.chunks(length).map(|piece| body.slice_ref(piece)).collect()
}

/// A token bucket that holds the requests of one second.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// Takes a token; returns how many are left, or how long it takes until there is one.
    fn take(slot: &mut Option<Self>, rate: f64) -> Result<f64, Duration> {
        let capacity = rate.max(1.0);
        let now = Instant::now();
        let full = Self { rate, tokens: capacity, filled: now };
        let bucket = slot.take_if(|bucket| bucket.rate == rate).unwrap_or(full);
        let gained = (now - bucket.filled).as_secs_f64() * rate;
        let tokens = (bucket.tokens + gained).min(capacity);
        let taken = if tokens >= 1.0 {
            Ok(tokens - 1.0)
        } else {
            Err(Duration::from_secs_f64((1.0 - tokens) / rate))
        };
        let left = taken.as_ref().copied().unwrap_or(tokens);
        *slot = Some(Self { rate, tokens: left, filled: now });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_refuses_and_says_how_long_to_wait() {
        let mut slot = None;
        assert_eq!(Bucket::take(&mut slot, 2.0).unwrap(), 1.0);
        assert!(Bucket::take(&mut slot, 2.0).is_ok());
        let wait = Bucket::take(&mut slot, 2.0).unwrap_err();
        assert!(
            wait <= Duration::from_millis(500) && wait > Duration::from_millis(400),
            "{wait:?}"
        );
    }
}
