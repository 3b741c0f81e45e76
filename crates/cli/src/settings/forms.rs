//! How values are written for which TOML has no type.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

/// Networks, among which an address is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let read = |text: &String| {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            let wanted = "no address or network such as 10.0.0.1 or 10.0.0.0/8";
            D::Error::custom(format!("server.trusted_proxies: `{text}` is {wanted}"))
        })
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(read).collect()
}

/// A time such as `20s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("`{text}` is no duration such as 20s: {error}")))
}
