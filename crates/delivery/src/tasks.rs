//! What goes on by itself until shutdown, each file one loop.

pub mod completing;
pub mod counting;
pub mod expiring;
pub mod following;
pub mod news;
pub mod reconciling;
pub mod recovering;
pub mod refreshing;
pub mod replica;
pub mod retention;
pub mod sending;
pub mod sole;
mod turns;
