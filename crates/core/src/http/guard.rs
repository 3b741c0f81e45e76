//! Which addresses a provider may be reached at. What its name resolves to is checked each time a connection is
//! made, so that a name cannot lead elsewhere later.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A resolver that refuses names which lead into a private network, but for the hosts that the process's own
/// settings list.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    allowed_hosts: Arc<[String]>,
}

impl AddressGuard {
    /// A guard that lets these hosts have private addresses.
    pub fn new(allowed_hosts: &[String]) -> Self {
        Self { allowed_hosts: allowed_hosts.into() }
    }

    /// Whether `host` may have a private address.
    pub fn allows(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|a| guard.allows(host) || !is_private(a.ip())).collect();
            if allowed.is_empty() {
                return Err(format!(
                    "{host} resolves only to private addresses; list it in \
                     server.allow_private_hosts, or of a webhook in webhooks.allow_private_hosts, if that is meant"
                )
                .into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Translated into IPv4, so that any private address may be behind it (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
/// The same within one network (RFC 8215).
const LOCAL_NAT64: [u16; 3] = [0x64, 0xff9b, 1];
/// 6to4 (RFC 3056), which carries an IPv4 address as well.
const SIX_TO_FOUR: u16 = 0x2002;
/// IPv4-translated (RFC 2765), which carries an IPv4 address at its end.
const TRANSLATED: [u16; 6] = [0, 0, 0, 0, 0xffff, 0];
/// Teredo (RFC 4380), which carries two: the server's as it is, the client's inverted.
const TEREDO: [u16; 2] = [0x2001, 0];
/// A public address at which a machine in Azure reaches its own platform.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an address is not on the public Internet: loopback, private, link-local (where clouds serve metadata),
/// shared, or otherwise reserved for use inside a network.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || is_reserved_v6(v6.segments())
        }
    }
}

fn is_reserved_v6(segments: [u16; 8]) -> bool {
    segments[..6] == NAT64
        || segments[..3] == LOCAL_NAT64
        || segments[0] == SIX_TO_FOUR
        // IPv4-compatible (RFC 4291, deprecated).
        || segments[..6] == [0; 6]
        || (segments[..6] == TRANSLATED && is_private_v4(embedded(segments[6], segments[7])))
        || (segments[..2] == TEREDO
            && (is_private_v4(embedded(segments[2], segments[3]))
                || is_private_v4(embedded(!segments[6], !segments[7]))))
        // Site-local (RFC 3879, deprecated).
        || segments[0] & 0xffc0 == 0xfec0
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || [a, b, c] == [192, 0, 0]
        // Benchmarks (RFC 2544).
        || (a == 198 && (b == 18 || b == 19))
        // Reserved (RFC 1112), broadcast among it.
        || a >= 240
        || v4 == AZURE_PLATFORM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_metadata_addresses_are_told_from_public_ones() {
        // The last two are Teredo: the server is private, or the client is (10.0.0.1 inverted).
        let private = "127.0.0.1 10.1.2.3 192.168.0.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 ::1 \
            fd00::1 fe80::1 ::ffff:10.0.0.1 192.0.0.192 168.63.129.16 64:ff9b::a00:1 \
            64:ff9b:1::a00:1 64:ff9b:1:ffff::1 2002:a00:1::1 ::10.0.0.1 ::93.184.216.34 fec0::1 \
            feff::1 198.18.0.1 198.19.255.255 240.0.0.1 255.255.255.255 \
            ::ffff:0:169.254.169.254 ::ffff:0:10.0.0.1 2001:0:a9fe:a9fe::a2a2:a1dd \
            2001:0:5db8:d822::f5ff:fffe";
        for text in private.split_whitespace() {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        let public = "93.184.216.34 100.128.0.1 198.17.255.255 198.20.0.1 223.255.255.255 2606:4700::1 \
            64:ff9b:2::1 ::ffff:0:93.184.216.34 2001:0:5db8:d822::a247:27dd 2001:1::1 2003::1";
        for text in public.split_whitespace() {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_for_loopback_is_refused_unless_it_is_listed() {
        for name in ["localhost", "127.0.0.1"] {
            let listed = AddressGuard::new(&[name.to_owned()]);
            assert!(listed.resolve(name.parse().unwrap()).await.is_ok(), "{name}");
            let refused = AddressGuard::default().resolve(name.parse().unwrap()).await.err();
            assert!(refused.unwrap().to_string().contains("server.allow_private_hosts"));
        }
    }
}
