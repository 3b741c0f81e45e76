//! The store's checks, each on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod accepting;
mod accounts;
mod actions;
mod administration;
mod admitting;
mod attempts;
mod chain;
mod changed;
mod changing;
mod clocks;
mod counting;
mod erasing;
mod events;
mod failing;
mod files;
mod fixture;
mod known;
mod lanes;
mod listing;
mod looking;
mod records;
mod retaining;
mod states;
mod together;
mod unreadable;
mod updating;
mod webhooks;
mod writing;
