//! The API as callers see it, over the router in the process, with a real database and a made-up
//! provider. Every answer is held against the OpenAPI document.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod client;
mod pigeon;

mod changing;
mod creating;
mod document;
mod keys;
mod limiting;
mod meanwhile;
mod reading;
mod recording;
mod repeating;
mod service;
