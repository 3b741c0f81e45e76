//! The commands of the program: what they print, where, and how they end.

use std::fs;

use invite_tests::{Binary, Gateway, eventually, terminate};
use serde_json::Value;

use crate::{text, texts};

fn json(printed: &[u8]) -> Value {
    serde_json::from_slice(printed).unwrap()
}

#[tokio::test]
async fn the_sandbox_needs_nothing_but_the_program() {
    let binary = Binary::in_empty_folder();
    let listen = ["--listen", "127.0.0.1:0"];
    let table = binary.print(&[&["sandbox", "--exit"], &listen[..]].concat()).await;
    for provider in ["berlin-summit", "acme-tenancy", "treasury"] {
        assert!(table.contains(provider), "{table}");
    }
    let printed = binary.print(&[&["sandbox", "--exit", "--json"], &listen[..]].concat()).await;
    let outcome = json(printed.as_bytes());
    assert_eq!(text(&outcome["batch"], "state"), "completed");
    let found = outcome["invites"].as_array().unwrap();
    let mut kinds = texts(found, "provider_kind");
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["rkvst", "securegate", "turnkey"]);
    assert!(texts(found, "status").iter().all(|status| *status == "pending"), "{found:?}");
    let left: Vec<_> = fs::read_dir(binary.path("")).unwrap().collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
}

#[tokio::test]
async fn the_sandbox_survives_its_faults() {
    let binary = Binary::in_empty_folder();
    let faults = "[[fault]]\nprovider = 'turnkey'\noperation = 'create'\nkind = 'cut_after'\n\
                  times = 1\n";
    binary.write("faults.toml", faults);
    let arguments = ["sandbox", "--exit", "--json", "--listen", "127.0.0.1:0"];
    let faulty = [&arguments[..], &["--faults", "faults.toml"]].concat();
    let outcome = json(binary.print(&faulty).await.as_bytes());
    assert_eq!(text(&outcome["batch"], "state"), "completed");
    binary.write("faults.toml", "[[fault]]\nkind = 'gremlins'\n");
    let refused = binary.run(&faulty).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("faults.toml") && said.contains("line 2"), "{said}");
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let binary = Binary::in_empty_folder();
    for arguments in [
        &["fly"][..],
        &["serve", "--fast"],
        &[],
        &["keys", "create", "--name", "x", "--scopes", "everything"],
        &["keys", "revoke", "nothing"],
        &["--config", "missing.toml", "serve"],
        &["--config", "gateway.toml", "sandbox", "--exit"],
    ] {
        let output = binary.run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_wrong_setting_ends_with_2_and_names_the_setting() {
    let binary = Binary::in_empty_folder();
    binary.write("gateway.toml", "[server]\nlistn = \"127.0.0.1:0\"\n");
    let output = binary.run(&["--config", "gateway.toml", "config", "show"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("listn"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_done_ends_with_1_and_one_line() {
    let binary = Binary::in_empty_folder();
    binary.write("gateway.toml", "[storage]\nurl = \"postgres://nobody@127.0.0.1:1/nothing\"\n");
    let output = binary.run(&["--config", "gateway.toml", "keys", "list"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[tokio::test]
async fn a_key_says_which_database_it_is_in_and_what_only_reads_makes_none() {
    let binary = Binary::in_empty_folder();
    let file = binary.path("data/invites.db").display().to_string();
    for command in
        [&["keys", "list"][..], &["keys", "revoke", "key_01a227df02c8752d92e1090427858076"]]
    {
        let output = binary.run(command).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&file) && said.contains("there is no database"), "{said}");
        assert!(!binary.path("data").exists(), "{command:?}");
    }
    let create = ["keys", "create", "--name", "x", "--scopes", "invites:read"];
    for is_new in [true, false] {
        let output = binary.run(&create).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&file), "{said}");
        assert_eq!(said.contains("made just now"), is_new, "{said}");
    }
    assert!(binary.print(&["keys", "list"]).await.contains("invites:read"));
}

#[tokio::test]
async fn a_gateway_leaves_nothing_for_others_to_read_and_no_core_dump() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start().await;
    let mode =
        |path: &str| fs::metadata(gateway.binary.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("ready"), 0o600);
    let limits = gateway.process_file("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");
    gateway.finish().await;
}

#[tokio::test]
async fn documents_are_printed_as_json() {
    let binary = Binary::in_empty_folder();
    let openapi = json(binary.print(&["openapi"]).await.as_bytes());
    assert!(text(&openapi, "openapi").starts_with("3.1"));
    let schema = binary.print(&["config", "schema"]).await;
    for key in ["max_invites_per_request", "authentication_method", "organization_id"] {
        assert!(schema.contains(key), "{key}");
    }
    json(schema.as_bytes());
}

#[tokio::test]
async fn the_printed_api_is_the_served_one() {
    let gateway = Gateway::start().await;
    let printed = json(&gateway.command(&["openapi"]).await.stdout);
    let served = gateway.client().get("/openapi.json").await.expect(200).body;
    assert_eq!(printed["paths"], served["paths"]);
    gateway.finish().await;
}

#[tokio::test]
async fn settings_are_shown_with_where_they_come_from_and_without_secrets() {
    let mut binary = Binary::in_empty_folder();
    binary.write("gateway.toml", "[storage]\nurl = \"postgres://me:hunter22@db/invites\"\n");
    binary.set_variable("INVITE_GATEWAY__DELIVERY__SETTLE", "90s");
    let shown = binary.print(&["--config", "gateway.toml", "config", "show"]).await;
    let line = |key: &str| shown.lines().find(|line| line.contains(key)).unwrap().to_lowercase();
    assert!(line("storage.url").contains("gateway.toml"), "{shown}");
    assert!(line("delivery.settle").contains("environment"), "{shown}");
    assert!(line("delivery.lease").contains("default"), "{shown}");
    assert!(!shown.contains("hunter22"), "{shown}");
}

#[tokio::test]
async fn a_provider_document_is_checked_with_line_and_column() {
    let mut binary = Binary::in_empty_folder();
    binary.set_variable("INVITE_GATEWAY__SERVER__ALLOW_PRIVATE_HOSTS", "127.0.0.1");
    let good = "[providers.rooftop]\nkind = \"rkvst\"\nbase_url = \"http://127.0.0.1:1\"\n\
                bearer_token = \"t\"\n\n[[routes]]\nto = [\"rooftop\"]\n";
    binary.write("providers.toml", good);
    binary.print(&["config", "check", "providers.toml"]).await;
    binary.write("providers.toml", &good.replace("base_url", "base_ulr"));
    let output = binary.run(&["config", "check", "providers.toml", "--json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let findings = json(&output.stdout)["findings"].clone();
    let mut found = findings.as_array().unwrap().iter();
    let unknown = found.find(|finding| finding["suggestion"] == "base_url").unwrap();
    assert_eq!(unknown["line"], 3, "{findings}");
    assert!(unknown["column"].is_u64(), "{findings}");
}

#[tokio::test]
async fn a_deployment_applies_a_document_from_the_command_line() {
    let mut gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let url = gateway.url();
    let document = fs::read_to_string(gateway.binary.path("providers.toml")).unwrap();
    let document = document.replace("kind = \"rkvst\"", "kind = \"rkvst\"\nenabled = false");
    gateway.binary.write("next.toml", &document);
    gateway.binary.write("broken.toml", &document.replace("event_id", "evnt_id"));
    let apply = ["config", "apply", "next.toml", "--note", "off & away", "--url", &url];

    let output = gateway.command(&apply).await;
    assert_eq!(output.status.code(), Some(2), "no key");
    assert!(String::from_utf8_lossy(&output.stderr).contains("INVITE_GATEWAY_KEY"));
    gateway.binary.set_variable("INVITE_GATEWAY_KEY", &admin.key());
    gateway.binary.set_variable("WRONG_KEY", "igk_wrong");

    let output = gateway.command(&[&apply[..], &["--key-env", "WRONG_KEY"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("401"));
    let output = gateway.command(&["config", "apply", "broken.toml", "--url", &url]).await;
    assert_eq!(output.status.code(), Some(2));
    let line = document.lines().position(|line| line.starts_with("event_id")).unwrap() + 1;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&format!("broken.toml: line {line}, column 1: error at ")), "{said}");

    let output = gateway.command(&apply).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("\n+enabled = false\n"), "{said}");
    assert!(said.ends_with("next.toml: live as revision 2\n"), "{said}");
    let revisions = admin.get("/v1/admin/config/revisions").await.expect(200).list("revisions");
    assert_eq!((text(&revisions[0], "note"), text(&revisions[0], "source")), ("off & away", "api"));
    let output = gateway.command(&apply).await;
    assert!(output.status.success());
    let again = admin.get("/v1/admin/config/revisions").await.expect(200).list("revisions");
    assert_eq!(again.len(), revisions.len(), "the same again is no other revision");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_is_printed_alone_and_listed_without_its_secret() {
    let binary = Binary::in_empty_folder();
    let create = ["keys", "create", "--name", "ci", "--scopes", "invites:read,providers:read"];
    let printed = binary.print(&create).await;
    assert_eq!(printed.lines().count(), 1);
    let key = printed.trim();
    let listed = binary.print(&["keys", "list", "--json"]).await;
    assert!(!listed.contains(key));
    let keys = json(listed.as_bytes())["keys"].clone();
    assert_eq!(text(&keys[0], "name"), "ci");
    let id = text(&keys[0], "id");
    binary.print(&["keys", "revoke", id]).await;
    let listed = binary.print(&["keys", "list"]).await;
    assert!(listed.contains("revoked"), "{listed}");
    let listed = json(binary.print(&["keys", "list", "--json"]).await.as_bytes());
    assert_eq!(listed["keys"][0]["state"], "revoked");
    let unknown = id.replace(|c: char| c.is_ascii_digit(), "0");
    let output = binary.run(&["keys", "revoke", &unknown]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn a_key_is_changed_on_the_command_line_and_its_secret_stays() {
    let gateway = Gateway::start().await;
    let client = gateway.caller("providers:read", &[]).await;
    let keys = async || {
        let listed = gateway.command(&["keys", "list", "--json"]).await;
        json(&listed.stdout)["keys"].as_array().unwrap().clone()
    };
    let scopes = serde_json::json!(["providers:read"]);
    let known = keys().await.into_iter().find(|key| key["scopes"] == scopes).unwrap();
    let id = text(&known, "id").to_owned();
    let own = async || keys().await.into_iter().find(|key| text(key, "id") == id).unwrap();
    let change = async |arguments: &[&str]| {
        gateway.command(&[&["keys", "change", &id][..], arguments].concat()).await
    };
    let limits = ["--requests-per-second", "2.5", "--expires", "90d", "--providers", "treasury"];
    let output = change(&[&["--name", "CRM and mail"], &limits[..]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("changed {id} (CRM and mail)\n"));
    let changed = own().await;
    assert_eq!(text(&changed, "name"), "CRM and mail");
    assert_eq!(changed["requests_per_second"], 2.5);
    assert_eq!(changed["providers"], serde_json::json!(["treasury"]));
    assert!(changed["expires_at"].is_string(), "{changed}");
    assert_eq!(changed["scopes"], scopes, "what is not named stays");
    let answer = client.get("/v1/providers").await.expect(200);
    assert!(answer.header("ratelimit-policy").is_some(), "{:?}", answer.headers);
    // It is stored some seconds late, and would change the key in the middle of what follows.
    let used = async || own().await["last_used_at"].is_string().then_some(());
    eventually("the key's use is stored", used).await;

    let none = ["--requests-per-second", "none", "--expires", "none", "--providers", "none"];
    assert!(change(&none).await.status.success());
    let changed = own().await;
    for member in ["requests_per_second", "expires_at", "providers"] {
        assert!(changed[member].is_null(), "{changed}");
    }
    for (arguments, status) in [
        (&["--requests-per-second", "many"][..], 2),
        (&["--expires", "soon"], 2),
        (&["--providers", "nowhere"], 2),
        (&["--name", ""], 2),
    ] {
        let output = change(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(arguments[0]), "{output:?}");
    }
    assert_eq!(own().await, changed, "what is refused changes nothing");
    let unknown = id.replace(|c: char| c.is_ascii_digit(), "0");
    let output = gateway.command(&["keys", "change", &unknown, "--name", "x"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_made_on_the_command_line_may_have_a_limit_of_its_own() {
    let gateway = Gateway::start().await;
    let client = gateway.caller("providers:read", &["--requests-per-second", "2.5"]).await;
    let answer = client.get("/v1/providers").await.expect(200);
    assert!(answer.header("ratelimit-policy").is_some(), "{:?}", answer.headers);
    let create = ["keys", "create", "--name", "x", "--scopes", "admin", "--requests-per-second"];
    let output = gateway.command(&[&create[..], &["0"]].concat()).await;
    assert_eq!(output.status.code(), Some(2));
    let admin = gateway.caller("admin", &[]).await;
    let entries = admin.get("/v1/admin/audit").await.expect(200).list("entries");
    assert!(entries.iter().any(|entry| text(entry, "actor") == "command line"), "{entries:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_is_made_only_for_providers_that_there_are() {
    let gateway = Gateway::start().await;
    let make = ["keys", "create", "--name", "ci", "--scopes", "invites:read", "--providers"];
    let output = gateway.command(&[&make[..], &["treasury,tresury"]].concat()).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("berlin-summit") && said.contains("did you mean `treasury`"), "{said}");
    let output = gateway.command(&[&make[..], &["treasury"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    gateway.finish().await;

    // Before the first start those of the file are there.
    let binary = Binary::in_empty_folder();
    let output = binary.run(&[&make[..], &["treasury"]].concat()).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    fs::create_dir_all(binary.path("config")).unwrap();
    binary.write("config/providers.toml", "[providers.treasury]\nkind = \"turnkey\"\n");
    binary.print(&[&make[..], &["treasury"]].concat()).await;
}

#[tokio::test]
async fn credentials_are_probed_without_any_effect() {
    let gateway = Gateway::start().await;
    let output = gateway.command(&["probe", "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    for kind in ["securegate", "rkvst", "turnkey"] {
        assert!(gateway.simulators.effects(kind).await.is_empty(), "{kind}");
    }
    let output = gateway.command(&["probe", "treasury"]).await;
    assert!(output.status.success(), "{output:?}");
    let output = gateway.command(&["probe", "nowhere"]).await;
    assert_ne!(output.status.code(), Some(0));
    gateway.finish().await;

    let wrong = "api_key = \"sg-wrong-key-000000\"";
    let gateway =
        Gateway::builder().replace("api_key = \"{SECUREGATE_API_KEY}\"", wrong).start().await;
    let output = gateway.command(&["probe"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("berlin-summit") && !said.contains("sg-wrong-key"), "{said}");
    gateway.finish().await;
}

#[tokio::test]
async fn the_simulators_run_alone_and_say_where_they_are() {
    let binary = Binary::in_empty_folder();
    let mut simulators = binary.spawn(&["simulate", "--json"], "simulate");
    let accounts = eventually("the simulators start", async || {
        let printed = fs::read(binary.path("simulate.out")).ok()?;
        serde_json::from_slice::<Value>(&printed).ok()
    })
    .await;
    for kind in ["securegate", "rkvst", "turnkey"] {
        let address = text(&accounts[kind], "base_url").strip_prefix("http://").unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
    assert!(terminate(&mut simulators).await.success());
}
