//! The arguments of the commands that call a running gateway about invites.

use clap::{Args, Subcommand, ValueEnum};
use invite_core::{ActionId, BatchId, InviteId, Status};

use crate::client::KEY_VARIABLE;

/// Which gateway is called, and how the result is printed.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The gateway; without it the one at server.listen.
    #[arg(long)]
    pub url: Option<String>,
    /// The environment variable that holds an API key.
    #[arg(long, value_name = "NAME", default_value = KEY_VARIABLE)]
    pub key_env: String,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum InvitesCommand {
    /// List invites, newest first
    List {
        #[command(flatten)]
        filter: ListFilter,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Show one invite, and each call that was made for it
    Show {
        id: InviteId,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Withdraw invites at their providers
    Withdraw(ActArgs),
    /// Ask the providers of invites what became of them
    Refresh(ActArgs),
    /// Send failed invites again
    Retry {
        /// Also those that may exist at the provider all the same; with ids only.
        #[arg(long)]
        accept_duplicate_risk: bool,
        #[command(flatten)]
        act: ActArgs,
    },
    /// Say what became of unknown invites, after a look at their provider
    Settle {
        /// What was found there: the invite (pending), or none (failed).
        #[arg(long = "as", value_name = "STATUS")]
        found: Found,
        /// The moment of the count, as the count says; with filters and --confirm.
        #[arg(long, value_name = "TIME")]
        as_of: Option<String>,
        #[command(flatten)]
        act: ActArgs,
    },
    /// Show how far an action on many invites has come, until it ends
    Action {
        /// Its id, as it was printed when it began.
        id: ActionId,
        /// End it: what it has not come to is left alone.
        #[arg(long)]
        cancel: bool,
        #[command(flatten)]
        call: CallArgs,
    },
}

/// Which invites something is done to: these ids, or all that match. Without --confirm those that match are only counted.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// These invites.
    #[arg(conflicts_with_all = ["confirm", "all"])]
    pub ids: Vec<InviteId>,
    #[command(flatten)]
    pub filter: Filter,
    /// All to which it can be done.
    #[arg(long)]
    pub all: bool,
    /// Do it to as many, the number that the count says.
    #[arg(long, value_name = "N")]
    pub confirm: Option<u64>,
    #[command(flatten)]
    pub call: CallArgs,
}

/// What invites have in common; all of it must hold.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Those at this provider.
    #[arg(long)]
    pub provider: Option<String>,
    /// Those in this status; may be repeated.
    #[arg(long)]
    pub status: Vec<Status>,
    /// Those of this request.
    #[arg(long, value_name = "ID")]
    pub batch: Option<BatchId>,
    /// Those with this label; may be repeated, and all must be there.
    #[arg(long, value_name = "NAME:VALUE")]
    pub label: Vec<String>,
    /// Those whose error has this code; may be repeated.
    #[arg(long, value_name = "CODE")]
    pub error_code: Vec<String>,
    /// Those accepted after this time, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub created_after: Option<String>,
    /// Those accepted before this time.
    #[arg(long, value_name = "TIME")]
    pub created_before: Option<String>,
    /// Those changed after this time.
    #[arg(long, value_name = "TIME")]
    pub updated_after: Option<String>,
    /// Those of this tenant; needs the scope invites:all-tenants.
    #[arg(long)]
    pub tenant: Option<String>,
}

#[derive(Debug, Args)]
pub struct ListFilter {
    #[command(flatten)]
    pub of_many: Filter,
    /// Those to this address.
    #[arg(long)]
    pub email: Option<String>,
    /// Those with the caller's own id.
    #[arg(long, value_name = "ID")]
    pub external_id: Option<String>,
}

/// What a person found at the provider.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Found {
    Pending,
    Failed,
}

#[derive(Debug, Subcommand)]
pub enum BatchesCommand {
    /// List requests, newest first
    List {
        /// Those in this state: in_progress, completed or completed_with_failures.
        #[arg(long)]
        state: Option<String>,
        /// Those of this tenant; needs the scope invites:all-tenants.
        #[arg(long)]
        tenant: Option<String>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Show one request, and its invites
    Show {
        id: BatchId,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Withdraw what can be of a request
    Withdraw {
        id: BatchId,
        /// Only say how many.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        call: CallArgs,
    },
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Those behind this event, or `latest` for those to come; without it from the first that is kept.
    #[arg(long, value_name = "EVENT")]
    pub after: Option<String>,
    /// Those of this type, such as invite.accepted; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Those of invites at this provider.
    #[arg(long)]
    pub provider: Option<String>,
    /// Those of invites with this label; may be repeated, and all must be there.
    #[arg(long, value_name = "NAME:VALUE")]
    pub label: Vec<String>,
    /// Those of this invite.
    #[arg(long, value_name = "ID")]
    pub invite: Option<InviteId>,
    /// Those of this tenant; needs the scope invites:all-tenants.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Go on with what comes, until Ctrl-C.
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub call: CallArgs,
}

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// From this time on, such as 2026-01-31T12:00:00Z; without it 24 hours back.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time; without it until now.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// For each minute or hour, not the sums.
    #[arg(long, value_name = "minute|hour")]
    pub interval: Option<String>,
    /// At this provider.
    #[arg(long)]
    pub provider: Option<String>,
    /// Of this tenant; needs the scope invites:all-tenants.
    #[arg(long)]
    pub tenant: Option<String>,
    #[command(flatten)]
    pub call: CallArgs,
}
