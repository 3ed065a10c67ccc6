//! The origin of a connection: the unit that `--max-connections-per-address` limits, and the user of a connection that
//! was not admitted as a principal.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::engine::interface::Peer;

/// An address, a network of IPv6, or a user of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    V4(Ipv4Addr),
    /// An IPv6 network: the holder of one address has the 2^64 of its network.
    V6([u16; 4]),
    /// A user of this host; `None` if the kernel does not report it.
    User(Option<u32>),
}

impl Origin {
    pub(crate) fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => Self::V4(address),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    Self::V6([a, b, c, d])
                }
            },
            Peer::Unix { uid, .. } => Self::User(*uid),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => {
                let mut segments = [0; 8];
                segments[..network.len()].copy_from_slice(network);
                write!(f, "{}/64", Ipv6Addr::from(segments))
            }
            Self::User(Some(uid)) => write!(f, "uid {uid}"),
            Self::User(None) => f.write_str("a uid that is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(&Peer::Tcp(address.parse().unwrap()))
    }

    #[test]
    fn an_origin_is_an_address_a_network_of_ipv6_or_a_user() {
        assert_eq!(origin("10.0.0.1:1"), origin("10.0.0.1:2"));
        assert_ne!(origin("10.0.0.1:1"), origin("10.0.0.2:1"));
        assert_eq!(origin("[::ffff:10.0.0.1]:1"), origin("10.0.0.1:1"));
        assert_eq!(origin("[2001:db8::1]:1"), origin("[2001:db8::2:3]:1"));
        assert_ne!(origin("[2001:db8:0:1::]:1"), origin("[2001:db8::]:1"));
        let user = |pid, uid| {
            Origin::of(&Peer::Unix {
                pid: Some(pid),
                uid,
            })
        };
        assert_eq!(user(1, Some(5)), user(2, Some(5)));
        assert_ne!(user(1, Some(5)), user(1, Some(6)));
        assert_ne!(user(1, Some(5)), user(1, None));
    }

    #[test]
    fn an_origin_is_shown_as_an_operator_knows_it() {
        let shown = [
            origin("10.0.0.1:1"),
            origin("[2001:db8::1]:1"),
            Origin::User(Some(5)),
        ];
        let shown = shown.map(|it| it.to_string());
        assert_eq!(shown, ["10.0.0.1", "2001:db8::/64", "uid 5"]);
    }
}
