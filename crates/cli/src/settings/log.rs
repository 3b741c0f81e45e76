//! Settings of logs.

use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// Logs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// How it is written.
    pub format: LogFormat,
}

impl Log {
    /// The filter of the log. The record of changes is always logged unless the filter names it
    /// (`audit=off`), since the copy in the log shows whether somebody has altered the one in the database.
    pub fn filter(&self) -> Result<EnvFilter, String> {
        let target = |part: &str| {
            part.trim().split(['=', '[']).next().and_then(|it| it.split("::").next())
                == Some("audit")
        };
        let always = if self.filter.split(',').any(target) { "" } else { "audit=info," };
        // An empty filter would be errors alone.
        let said = if self.filter.trim().is_empty() { "error" } else { &self.filter };
        EnvFilter::try_new(format!("{always}{said}"))
            .map_err(|error| format!("log.filter cannot be `{}`: {error}", self.filter))
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}
