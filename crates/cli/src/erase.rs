//! `erase`: erases a person on a running gateway.

use std::io::Read as _;

use invite_client::Call;
use serde_json::{Value, json};

use crate::{args::EraseArgs, client, failure::Failure, print, print_json, settings::Settings};

const CALL: &str = "/v1/admin/erase";
/// How many bytes of stdin are read, which is more than any address has.
const MAX_INPUT: u64 = 4096;

/// Has the gateway erase the person, and prints the receipt. If the receipt names invites that are left,
/// the command fails.
pub async fn run(settings: &Settings, args: EraseArgs) -> Result<(), Failure> {
    let address = match args.address.as_str() {
        "-" => read_address()?,
        address => address.to_owned(),
    };
    let client = client::of(settings, args.url.as_deref(), &args.key_env)?;
    let body = json!({ "email": address, "withdraw": args.withdraw });
    let receipt: Value = client.read(Call::post(CALL).json(&body)).await?;
    if args.json {
        print_json(&receipt)?;
    } else {
        print(&describe(&receipt))?;
    }
    match receipt["left"].as_array().map_or(0, Vec::len) {
        0 => Ok(()),
        n => Err(Failure::failed(format!(
            "{n} invite(s) still hold the person; the receipt says why and what to do"
        ))),
    }
}

fn read_address() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read the address from stdin: {error}")))?;
    Ok(text.trim().to_owned())
}

fn describe(receipt: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let erased = &receipt["erased"];
    let mut text = format!(
        "person {}\nerased {} invites, {} calls ({} with what was exchanged), {} labels; withdrawn {}\n",
        word(&receipt["person"]),
        erased["invites"],
        erased["attempts"],
        erased["exchanges"],
        erased["labels"],
        receipt["withdrawn"],
    );
    if receipt["cleaned"] != true {
        text.push_str("the database still keeps copies beside its tables (see docs/privacy.md)\n");
    }
    for left in receipt["left"].as_array().into_iter().flatten() {
        let [id, provider, status] = ["id", "provider", "status"].map(|name| word(&left[name]));
        let detail = word(&left["detail"]);
        text.push_str(&format!("left {id} ({provider}, {status}): {detail}\n"));
    }
    if receipt["more_left"] == true {
        text.push_str("and more\n");
    }
    text
}
