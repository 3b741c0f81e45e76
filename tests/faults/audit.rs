//! What the gateway says, compared with what happened at the providers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::load::USUAL_EVENT;
use crate::plan::Plan;
use crate::trouble::BAD_EVENT;

/// The comparison of one round.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub invites: usize,
    pub effects: usize,
    /// Effects that are missing, and promised invites that are.
    pub lost: usize,
    /// Effects that are too many.
    pub doubled: usize,
    /// Invites whose outcome was not found out in time.
    pub unknown: usize,
    /// Invites that say what is not so, and answers that should not have been.
    pub false_states: usize,
    /// Invites that had to wait for what is bad elsewhere.
    pub starved: usize,
    /// Second effects that the gateway reported.
    pub reported: usize,
    /// Each of them in words.
    pub findings: Vec<String>,
}

/// Kind and address: who is invited where.
type Person = (String, String);

impl Audit {
    /// Compares all invites of the gateway with all effects, by kind.
    pub fn new(
        invites: &[Value],
        effects: &BTreeMap<&'static str, Vec<Value>>,
        promised: &BTreeSet<String>,
    ) -> Self {
        let mut audit = Self {
            invites: invites.len(),
            effects: effects.values().map(Vec::len).sum(),
            ..Self::default()
        };
        let mut made: BTreeMap<Person, Vec<&Value>> = BTreeMap::new();
        for (kind, effects) in effects {
            for effect in effects {
                made.entry((kind.to_string(), spelled(&text(effect, "email"))))
                    .or_default()
                    .push(effect);
            }
        }
        audit.count_promises(invites, promised);
        let mut meant: BTreeMap<Person, Vec<&Value>> = BTreeMap::new();
        for invite in invites {
            let person = (text(invite, "provider_kind"), spelled(&text(invite, "email")));
            meant.entry(person).or_default().push(invite);
        }
        for (person, invites) in &meant {
            let made = made.remove(person).unwrap_or_default();
            audit.compare(person, invites, &made);
        }
        for (person, effects) in made {
            audit.doubled += effects.len();
            audit.findings.push(format!("{person:?} has effects and no invite: {effects:?}"));
        }
        audit
    }

    /// A wrong answer, or a process that ended by itself.
    pub fn accuse(&mut self, finding: String) {
        self.false_states += 1;
        self.findings.push(finding);
    }

    /// Accuses failures that nothing in the round explains, and refusals for a quota although there was
    /// room: `had` is what had taken effect when quotas ended, which is no less than when one refused.
    pub fn examine_failures(
        &mut self,
        plan: &Plan,
        invites: &[Value],
        had: &BTreeMap<&'static str, Vec<Value>>,
    ) {
        let failed = || invites.iter().filter(|invite| invite["status"] == "failed");
        for invite in failed().filter(|invite| !plan.explains(invite)) {
            self.accuse(format!("failed, and nothing in this round explains it: {invite}"));
        }
        for (kind, quota) in plan.quotas() {
            for event in [USUAL_EVENT, BAD_EVENT] {
                // The others have one destination each, and then no effect names an event.
                let there =
                    |effect: &&Value| effect["event_id"].is_null() || effect["event_id"] == event;
                let count = had[kind].iter().filter(there).count();
                let refused = failed().find(|invite| {
                    let code = &invite["error"]["code"];
                    let at = &invite["labels"]["event"];
                    code == "provider-quota" && invite["provider_kind"] == kind && at == event
                });
                if let Some(invite) = refused.filter(|_| count < quota) {
                    let left = quota - count;
                    self.accuse(format!("refused for a quota with {left} places left: {invite}"));
                }
            }
        }
    }

    /// An invite that had to wait for what is bad elsewhere.
    pub fn starve(&mut self, finding: String) {
        self.starved += 1;
        self.findings.push(format!("starved: {finding}"));
    }

    /// Whether everything is as it was promised.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.unknown + self.false_states + self.starved == 0
    }

    fn count_promises(&mut self, invites: &[Value], promised: &BTreeSet<String>) {
        let ids: BTreeSet<String> = invites.iter().map(|invite| text(invite, "id")).collect();
        for id in promised.difference(&ids) {
            self.lost += 1;
            self.findings.push(format!("{id} was promised and is not there"));
        }
        // Each of the campaign's invites is asked for in one request.
        let mut asked = BTreeSet::new();
        for invite in invites {
            if !asked.insert((text(invite, "provider"), text(invite, "external_id"))) {
                self.accuse(format!("a request was accepted twice: {invite}"));
            }
        }
    }

    fn compare(&mut self, person: &Person, invites: &[&Value], made: &[&Value]) {
        let reported = invites.iter().filter(|invite| invite["duplicate_effect"] == true).count();
        self.reported += reported;
        let found = self.findings.len();
        let mut expected = 0;
        for invite in invites {
            match text(invite, "status").as_str() {
                "queued" | "sending" | "unknown" => {
                    self.unknown += 1;
                    self.findings.push("not settled in time".to_owned());
                    // It may have either.
                    expected += usize::from(made.len() > expected);
                }
                "failed" => {}
                "revoked" | "awaiting_approval" if invite["provider_ref"].is_null() => {}
                status => {
                    expected += 1;
                    self.compare_state(invite, status, made);
                }
            }
        }
        if made.len() < expected {
            self.lost += expected - made.len();
            self.findings.push("lost".to_owned());
        }
        let is_failure = invites.iter().any(|invite| invite["status"] == "failed");
        if made.len() > expected && expected == 0 && is_failure {
            self.accuse("failed, and yet it took effect".to_owned());
        } else if made.len() > expected {
            self.doubled += made.len() - expected;
            self.findings.push("doubled".to_owned());
        }
        if reported > 0 && made.len() <= expected {
            self.accuse("a second effect is reported that is not there".to_owned());
        }
        for finding in &mut self.findings[found..] {
            *finding = format!("{finding}: {person:?}\n  invites {invites:?}\n  effects {made:?}");
        }
    }

    fn compare_state(&mut self, invite: &Value, status: &str, made: &[&Value]) {
        let reference = &invite["provider_ref"];
        let Some(own) = made.iter().find(|effect| effect["id"] == *reference) else {
            return self.accuse(format!("provider_ref {reference} is no effect"));
        };
        let word = text(own, "status");
        let so = match word.as_str() {
            "created" => "pending",
            "deleted" => "revoked",
            "rejected" => "declined",
            word => word,
        };
        if so != status {
            self.accuse(format!("{status}, and the provider says {word}"));
        }
    }
}

/// One spelling of an address for all that mean the same person here: the gateway may send it in its
/// own.
fn spelled(email: &str) -> String {
    let composed: String = email.nfkc().collect();
    composed.to_lowercase().replace('"', "").nfkc().collect()
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}
