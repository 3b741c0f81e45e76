//! Leak canaries: every secret and every person of a gateway is made so that it would be noticed, and then
//! the gateway is taken through all that it does and that can happen to it. Whatever it wrote where that
//! person or secret does not belong is searched.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod canary;
mod command_line;
mod ear;
mod people;
mod planted;
mod round;

use invite_tests::Database;

#[tokio::test]
async fn nothing_leaks_into_a_log_of_lines_or_out_of_a_sqlite_database() {
    round::go_round(Database::Sqlite, "text").await;
}

#[tokio::test]
async fn nothing_leaks_into_a_log_of_json_or_out_of_a_postgresql_database() {
    round::go_round(Database::Postgres, "json").await;
}
