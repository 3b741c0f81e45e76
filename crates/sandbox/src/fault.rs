//! Fault rules: what goes wrong, where and how often. `exchange` carries them out.

use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Error;
use crate::simulator::{Operation, locked};
use crate::wait::Form;

/// A list of fault rules, read from TOML.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultScript {
    #[serde(default, rename = "fault")]
    pub(crate) rules: Vec<Rule>,
}

impl FaultScript {
    /// Reads `[[fault]]` rules. The error names the line and the column.
    ///
    /// # Errors
    /// The text is not TOML, or a rule has an unknown member, provider, kind, operation or value.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::FaultScript(error.to_string()))
    }
}

/// What goes wrong, as the README's table of kinds says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Latency,
    LatencyAfter,
    StatusBefore,
    StatusAfter,
    CutBefore,
    CutAfter,
    CutMidBody,
    GarbageBefore,
    GarbageAfter,
    RateLimited,
    Quota,
    SlowBody,
    HugeBody,
    Partial,
    LateEffect,
    Redirect,
    ResetBeforeRead,
    SilentBefore,
    SilentAfter,
    SilentMidBody,
    SilentUnread,
}

impl Kind {
    /// Whether it happens before the body of the request is read.
    pub fn is_early(self) -> bool {
        matches!(self, Self::ResetBeforeRead | Self::SilentUnread)
    }

    /// Whether a rule's `delay` is part of the fault, and not a wait before it.
    pub fn has_own_delay(self) -> bool {
        let silent = matches!(self, Self::SilentBefore | Self::SilentAfter | Self::SilentMidBody);
        silent || matches!(self, Self::LateEffect | Self::SlowBody | Self::LatencyAfter)
    }
}

/// One rule of a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The kind of the only simulator that it holds at; absent for all.
    #[serde(default, deserialize_with = "known_provider", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default)]
    pub operation: Operation,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Text is sent as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// How `retry_after` is written.
    #[serde(default)]
    pub retry_after_form: Form,
    /// With `partial`: how many invites of the batch come to exist.
    #[serde(default)]
    pub items: usize,
    /// With `huge_body`: how many bytes it has.
    #[serde(default = "default_size")]
    pub size: usize,
    #[serde(default)]
    pub skip: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_email: Option<String>,
    /// The event, tenancy or organization that a request must be about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

fn default_size() -> usize {
    64 << 20
}

fn known_provider<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let provider = Option::<String>::deserialize(from)?;
    let is_known = |name: &String| crate::accounts().iter().any(|account| account.kind == name);
    match provider {
        Some(name) if !is_known(&name) => {
            Err(serde::de::Error::custom(format!("there is no provider `{name}`")))
        }
        provider => Ok(provider),
    }
}

impl Rule {
    pub fn status_or(&self, default: StatusCode) -> StatusCode {
        self.status.map_or(default, |status| status.0)
    }

    pub fn delay_or(&self, default: Duration) -> Duration {
        self.delay.map_or(default, |span| span.0)
    }

    /// The wait that the reply shows, in the form that the rule asks for.
    pub fn wait(&self, now: Timestamp) -> Option<String> {
        let wait_ms = i64::try_from(self.retry_after?.0.as_millis()).unwrap_or(i64::MAX);
        Some(self.retry_after_form.written(wait_ms, now))
    }

    fn concerns(&self, operation: Operation) -> bool {
        self.operation == Operation::Any || self.operation == operation
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub StatusCode);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = u16::deserialize(deserializer)?;
        StatusCode::from_u16(code)
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("{code} is no HTTP status")))
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0.as_u16())
    }
}

/// A length of time, such as `"200ms"`, `"1s"`, or a number of seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a time like \"200ms\", or a number of seconds")]
        enum Form {
            Text(String),
            Seconds(f64),
        }
        let refused = |what: String| serde::de::Error::custom(what);
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text
                .parse::<jiff::SignedDuration>()
                .map_err(|error| refused(error.to_string()))
                .and_then(|span| {
                    Duration::try_from(span).map_err(|error| refused(error.to_string()))
                }),
            Form::Seconds(seconds) => {
                Duration::try_from_secs_f64(seconds).map_err(|error| refused(error.to_string()))
            }
        }
        .map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

/// A rule with its counters.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    #[serde(flatten)]
    rule: Rule,
    /// How many requests the rule is about.
    seen: u64,
    /// How many of them it was applied to.
    applied: u64,
}

impl Counted {
    /// Counts a request that the rule is about; true if it is to be applied to this one.
    fn due(&mut self) -> bool {
        self.seen += 1;
        let due = self.seen > self.rule.skip
            && self.rule.times.is_none_or(|times| self.seen <= self.rule.skip + times);
        self.applied += u64::from(due);
        due
    }
}

/// The rules in force at one simulator, in order.
#[derive(Debug)]
pub(crate) struct Faults {
    /// The kind of the simulator.
    pub provider: &'static str,
    /// The rules that a reset brings back.
    start: Vec<Rule>,
    rules: Mutex<Vec<Counted>>,
}

/// What is to go wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub latency: Duration,
    pub rule: Option<Rule>,
}

impl Faults {
    pub fn new(provider: &'static str, script: Option<&FaultScript>) -> Self {
        let start: Vec<Rule> = script.map_or_else(Vec::new, |script| script.rules.clone());
        let faults = Self { provider, start, rules: Mutex::default() };
        faults.reset();
        faults
    }

    /// Brings back the rules of the start, with counters at zero.
    pub fn reset(&self) {
        self.clear();
        self.add(self.start.clone());
    }

    pub fn clear(&self) {
        locked(&self.rules).clear();
    }

    /// Adds rules after those that hold already. Rules of other providers are left out.
    pub fn add(&self, rules: Vec<Rule>) {
        let own = rules
            .into_iter()
            .filter(|rule| rule.provider.as_deref().is_none_or(|p| p == self.provider));
        let counted = own.map(|rule| Counted { rule, seen: 0, applied: 0 });
        locked(&self.rules).extend(counted);
    }

    pub fn shown(&self) -> Value {
        serde_json::to_value(&*locked(&self.rules)).unwrap_or(Value::Null)
    }

    /// The rule that applies before the body of the request is read, if one does. It cannot look at the request, so
    /// a rule that names an address or a destination applies to none.
    pub fn early(&self, operation: Operation) -> Option<Rule> {
        locked(&self.rules).iter_mut().find_map(|counted| {
            let rule = &counted.rule;
            let matches = rule.kind.is_early()
                && rule.match_email.is_none()
                && rule.destination.is_none()
                && rule.concerns(operation);
            (matches && counted.due()).then(|| counted.rule.clone())
        })
    }

    /// What goes wrong with a request that was read: the first rule that applies, and the sum of the latencies before
    /// it. `holds` tells whether the request contains an address, `goes_to` whether it is about a destination.
    pub fn verdict(
        &self,
        operation: Operation,
        holds: impl Fn(&str) -> bool,
        goes_to: impl Fn(&str) -> bool,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for counted in locked(&self.rules).iter_mut() {
            let rule = &counted.rule;
            let matches = !rule.kind.is_early()
                && rule.concerns(operation)
                && rule.match_email.as_deref().is_none_or(&holds)
                && rule.destination.as_deref().is_none_or(&goes_to);
            if !matches || !counted.due() {
                continue;
            }
            if counted.rule.kind == Kind::Latency {
                verdict.latency += counted.rule.delay_or(Duration::ZERO);
                continue;
            }
            verdict.rule = Some(counted.rule.clone());
            break;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Faults {
        Faults::new("rkvst", Some(&FaultScript::from_toml(text).unwrap()))
    }

    #[test]
    fn a_rule_skips_and_then_applies_a_number_of_times() {
        let faults =
            faults("[[fault]]\nkind = 'cut_before'\noperation = 'create'\nskip = 1\ntimes = 2");
        let hits: Vec<bool> = (0..5)
            .map(|_| faults.verdict(Operation::Create, |_| true, |_| true).rule.is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.verdict(Operation::List, |_| true, |_| true).rule.is_none());
    }

    #[test]
    fn latency_adds_to_the_rule_behind_it() {
        let faults = faults(
            "[[fault]]\nkind = 'latency'\ndelay = '200ms'\n[[fault]]\nkind = 'latency'\ndelay = 0.1\n\
             [[fault]]\nkind = 'quota'\nmatch_email = 'ada@'",
        );
        let to_ada = |email: &str| "ada@example.org".contains(email);
        let verdict = faults.verdict(Operation::Create, to_ada, |_| false);
        assert_eq!(verdict.latency, Duration::from_millis(300));
        assert_eq!(verdict.rule.unwrap().kind, Kind::Quota);
        assert!(faults.verdict(Operation::Create, |_| false, |_| true).rule.is_none());
    }

    #[test]
    fn a_rule_for_a_destination_leaves_the_others_alone() {
        let faults = faults("[[fault]]\nkind = 'cut_before'\ndestination = 'here'");
        let applies = |place: &str| {
            faults.verdict(Operation::Create, |_| true, |own| own == place).rule.is_some()
        };
        assert_eq!([applies("there"), applies("here")], [false, true]);
        assert!(faults.early(Operation::Create).is_none());
    }

    #[test]
    fn rules_of_other_providers_are_left_out() {
        let faults = faults("[[fault]]\nprovider = 'turnkey'\nkind = 'quota'");
        assert_eq!(faults.shown(), serde_json::json!([]));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_column() {
        for (text, line, column, what) in [
            ("[[fault]]\nkind = 'cut'\n", 2, 8, "unknown variant `cut`"),
            ("[[fault]]\nkind = 'quota'\ndelay = 'soon'\n", 3, 9, "soon"),
            ("[[fault]]\nkind = 'quota'\nprovider = 'acme'\n", 3, 12, "no provider `acme`"),
            ("[[fault]]\nkind = 'quota'\nstatus = 99\n", 3, 10, "99 is no HTTP status"),
            ("[[fault]]\nkind = 'quota'\ntimes_ = 1\n", 3, 1, "times_"),
        ] {
            let error = FaultScript::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}, column {column}")), "{error}");
            assert!(error.contains(what), "{error}");
        }
    }
}
