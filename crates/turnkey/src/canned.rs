//! For tests: a loopback server that gives canned answers and keeps what it was asked, and a provider
//! that talks to it. It knows nothing of Turnkey but how a stamp is verified.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use invite_core::{
    BuildContext, Destination, Fault, InviteId, InviteProvider, Invitee, ManualClock, NewInvite,
    Recipient, Remote, Status,
    http::{AddressGuard, CallContext, HttpClient},
    secret::{Credential, Secret, SecretRef, SecretRefs},
};
use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The private key of vector 4, made for it.
pub const KEY: &str = "f0249daa9da7aad965d138773320341f465e17ff86afdbcd6f4762d375e019c2";
/// Another key, of the official stamper's own tests.
pub const OTHER_KEY: &str = "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69";
pub const ORGANIZATION: &str = "89881fc7-6ff3-4b43-b962-916698f8ff58";
pub const SENDER: &str = "c7517305-6772-4e74-8101-108fbab0c11e";
/// The `timestampMs` of vector 4.
pub const AT: i64 = 1_746_736_509_954;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub stamp: String,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The public key whose stamp is valid for exactly the body.
    pub fn signer(&self) -> String {
        let stamp = BASE64_URL_SAFE_NO_PAD.decode(&self.stamp).unwrap();
        let stamp: Value = serde_json::from_slice(&stamp).unwrap();
        let part = |name: &str| stamp[name].as_str().unwrap().to_owned();
        assert!(verifies(&part("publicKey"), &part("signature"), self.body.as_bytes()));
        part("publicKey")
    }
}

pub fn verifies(public_key: &str, signature: &str, body: &[u8]) -> bool {
    let bytes = |hex: &str| base16ct::lower::decode_vec(hex).unwrap();
    let key = VerifyingKey::from_sec1_bytes(&bytes(public_key)).unwrap();
    key.verify(body, &DerSignature::from_bytes(&bytes(signature)).unwrap()).is_ok()
}

pub struct Canned {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Canned {
    /// Answers each request with what `answer` makes of it.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::with_header("", answer).await
    }

    /// The same with a header, whose line ends, in each reply.
    pub async fn with_header(
        header: &str,
        answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let header = header.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let (status, body) = answer(&request);
                kept.lock().unwrap().push(request);
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                let reply = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                     {header}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        Self { url, asked }
    }

    /// Gives the same activity to whatever is asked.
    pub async fn with_activity(activity: Value) -> Self {
        Self::start(move |_| (200, json!({ "activity": activity }))).await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The last step of each path asked for, in order.
    pub fn steps(&self) -> Vec<String> {
        let step = |asked: Asked| asked.path.rsplit('/').next().unwrap().to_owned();
        self.asked().into_iter().map(step).collect()
    }

    /// A provider named `treasury` at this server.
    pub fn provider(&self, settings: Value) -> Provider {
        Provider::build(&self.url, settings, &[KEY]).unwrap()
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with(name));
                line.map_or(String::new(), |l| l[name.len()..].trim().to_owned())
            };
            if body.len() >= header("content-length:").parse::<usize>().unwrap_or(0) {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                return Asked { path, stamp: header("x-stamp:"), body: body.to_owned() };
            }
        }
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..n]);
    }
}

/// A provider, its clock and its secrets.
pub struct Provider {
    pub provider: Arc<dyn InviteProvider>,
    pub clock: ManualClock,
    pub secrets: Vec<Arc<Secret>>,
}

impl std::ops::Deref for Provider {
    type Target = dyn InviteProvider;

    fn deref(&self) -> &Self::Target {
        &*self.provider
    }
}

impl Provider {
    pub fn build(base_url: &str, more: Value, keys: &[&str]) -> Result<Self, Vec<Fault>> {
        let mut settings = json!({
            "base_url": base_url, "organization_id": ORGANIZATION, "sender_user_id": SENDER,
            "api_private_key": { "env": "TURNKEY_API_PRIVATE_KEY" },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
            if value.is_null() {
                settings.as_object_mut().unwrap().remove(name);
            }
        }
        let secret = |key: &&str| {
            let reference = SecretRef::Literal((*key).to_owned());
            Arc::new(Secret::new(&reference, (*key).to_owned().into()))
        };
        let secrets: Vec<Arc<Secret>> = keys.iter().map(secret).collect();
        let credential = Credential::new(secrets.clone());
        let resolve = |_: &SecretRefs| Ok(credential.clone());
        let clock = ManualClock::new(jiff::Timestamp::from_millisecond(AT).unwrap());
        let provider = crate::build(&BuildContext {
            name: "treasury",
            settings: &settings,
            clock: Arc::new(clock.clone()),
            http: HttpClient::new(AddressGuard::default()).unwrap(),
            resolve_secret: &resolve,
        })?;
        Ok(Self { provider, clock, secrets })
    }

    pub fn recipients(&self, people: &[(&str, &str)]) -> Vec<Recipient> {
        let one = |(name, email): &(&str, &str)| {
            let invitee = Invitee {
                email: (*email).to_owned(),
                first_name: Some((*name).to_owned()),
                ..Invitee::default()
            };
            let invite = NewInvite { invitee: invitee.clone(), ..NewInvite::default() };
            let resolved = self.resolve(&invite).unwrap();
            Recipient {
                id: InviteId::generate(),
                invitee,
                address: email.parse().unwrap(),
                destination: resolved.destination,
                params: resolved.params,
            }
        };
        people.iter().map(one).collect()
    }
}

/// An invite to Ada at `base_url`.
pub fn remote(base_url: &str, provider_ref: Option<&str>, data: Value) -> Remote {
    Remote {
        destination: Destination {
            kind: "turnkey".into(),
            base_url: base_url.into(),
            scope: ORGANIZATION.into(),
        },
        provider_ref: provider_ref.map(str::to_owned),
        data: data.as_object().cloned().unwrap_or_default(),
        invitee: Invitee { email: "Ada@example.org".into(), ..Invitee::default() },
        address: "ada@example.org".parse().unwrap(),
        index: 0,
        status: Status::Pending,
        expires_at: None,
        revoke_sent: false,
    }
}

pub fn context() -> CallContext {
    CallContext::new(Duration::from_secs(10))
}

/// A completed creation of `ids`, as recorded replies have it.
pub fn completed(ids: &[&str]) -> Value {
    json!({
        "id": "0196b0f7-801d-75d8-a40e-e4f69944b711", "organizationId": ORGANIZATION,
        "status": "ACTIVITY_STATUS_COMPLETED", "type": "ACTIVITY_TYPE_CREATE_INVITATIONS",
        "intent": {}, "result": { "createInvitationsResult": { "invitationIds": ids } },
        "votes": [], "canApprove": false, "canReject": true, "failure": null,
        "createdAt": { "seconds": "1746736510", "nanos": "0" }, "updatedAt": null,
    })
}

/// The same with another status and no result.
pub fn with_status(status: &str) -> Value {
    let mut activity = completed(&[]);
    activity["status"] = status.into();
    activity.as_object_mut().unwrap().remove("result");
    activity
}

/// Which of the two cursors leads to older activities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Older {
    After,
    Before,
    Neither,
}

/// Answers `list_activities` from these, newest first, up to 100 at once.
pub fn page_of(activities: &[Value], asked: &Asked, older: Older) -> Value {
    let options = &asked.json()["paginationOptions"];
    assert_eq!(options["limit"], "100");
    let place = |name: &str| {
        activities.iter().position(|a| !options[name].is_null() && a["id"] == options[name])
    };
    let page = match (older, place("after"), place("before")) {
        (Older::Neither, ..) | (_, None, None) => activities,
        (Older::After, Some(at), _) | (Older::Before, None, Some(at)) => &activities[at + 1..],
        (Older::After, None, Some(at)) | (Older::Before, Some(at), _) => &activities[..at],
    };
    json!({ "activities": &page[..page.len().min(100)] })
}

/// Activities `a0`, the newest, `a1` and so on, each a minute older, from the clock's start on.
pub fn activities(count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let seconds = AT / 1000 - 60 * i64::try_from(n).unwrap();
        let mut activity = completed(&["other"]);
        activity["id"] = format!("a{n}").into();
        activity["fingerprint"] = format!("sha256:{n}").into();
        activity["createdAt"]["seconds"] = seconds.to_string().into();
        activity
    };
    (0..count).map(one).collect()
}
