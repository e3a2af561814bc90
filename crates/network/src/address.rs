//! What a network address is worth: where it lies, whose it is, whether we would dial it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::error::NetworkError;

/// How local an address is. A peer may name addresses no more local than its own: otherwise anybody
/// on the internet could have us knock at doors inside our own network (THREATS N5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Routable everywhere.
    Global,
    /// Of a site, a link or a carrier: RFC 1918, 3927, 4193, 4291, 6598; and what is meant for
    /// documentation (RFC 5737, 3849), which closed networks and virtual machines do use.
    Private,
    /// Of this machine.
    Loopback,
}

impl Scope {
    /// `None`: nobody can be reached there.
    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        let [a, b, ..] = ip.octets();
        if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_private()
            || ip.is_link_local()
            || ip.is_documentation()
            || (a == 100 && b & 0xc0 == 64)
        {
            Some(Self::Private)
        } else if a == 0 || a >= 224 {
            None
        } else {
            Some(Self::Global)
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_unique_local()
            || ip.is_unicast_link_local()
            || ip.segments()[..2] == [0x2001, 0xdb8]
        {
            Some(Self::Private)
        } else if ip.segments()[0] & 0xe000 == 0x2000 {
            Some(Self::Global)
        } else {
            None
        }
    }
}

/// Whom to hold to account: an IPv4 address, or the /64 that one IPv6 customer has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    /// `None` for what is no IP address.
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        match address.ip_addr()?.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Some(Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()))
            }
            ip => Some(Self(ip)),
        }
    }

    /// This machine, which shares one address among all its nodes.
    pub(crate) const fn is_loopback(self) -> bool {
        // The /64 of ::1 is all zeros.
        self.0.is_loopback() || self.0.is_unspecified()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// Whose network an address is in: what one operator or attacker is likely to own all of. IPv4 by
/// /16, IPv6 by /32, as Bitcoin Core has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group([u8; 5]);

impl Group {
    /// What is no IP address.
    pub(crate) const UNKNOWN: Self = Self([0; 5]);

    pub(crate) fn of(address: &Multiaddr) -> Self {
        match address.ip_addr().map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Self([4, a, b, 0, 0])
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Self([6, a, b, c, d])
            }
            None => Self::UNKNOWN,
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 5] {
        self.0
    }
}

/// The scope of what a connection's other end is at.
pub(crate) fn scope_of(address: &Multiaddr) -> Option<Scope> {
    Scope::of(address.ip_addr()?)
}

/// By which transport an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `/tcp/PORT`
    Tcp,
    /// `/udp/PORT/quic-v1`
    Quic,
}

/// The transports that this node has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carriers {
    /// Some address of the configuration asked for it.
    pub(crate) quic: bool,
    /// A secret of the network keeps all others out, which is done on TCP alone.
    pub(crate) has_secret: bool,
}

impl Carriers {
    /// [`dialable`], and by a transport of ours.
    pub(crate) fn dialable(self, told: &Multiaddr, teller: Scope) -> Option<Multiaddr> {
        let (carrier, address) = dialable(told, teller)?;
        (carrier == Carrier::Tcp || self.quic).then_some(address)
    }

    /// Whether an address that the operator gave can be used.
    pub(crate) fn check(self, text: &str) -> Result<(), NetworkError> {
        match (is_quic(text), self.has_secret, self.quic) {
            (true, true, _) => Err(NetworkError::QuicWithSecret { address: text.into() }),
            (true, false, false) => Err(NetworkError::QuicIsOff { address: text.into() }),
            _ => Ok(()),
        }
    }
}

/// What follows the host: the transport, its port, and nothing besides.
fn carrier<'a>(mut parts: impl Iterator<Item = Protocol<'a>>) -> Option<(Carrier, u16)> {
    let found = match parts.next()? {
        Protocol::Tcp(port) => (Carrier::Tcp, port),
        Protocol::Udp(port) if parts.next()? == Protocol::QuicV1 => (Carrier::Quic, port),
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

/// Whether an address of the operator's asks for QUIC.
pub(crate) fn is_quic(text: &str) -> bool {
    let address = text.parse::<Multiaddr>();
    address.is_ok_and(|address| address.iter().any(|part| part == Protocol::QuicV1))
}

/// An address that a peer told, without its `/p2p`, if we would dial it: IP and TCP or QUIC, a real
/// port, no more local than `teller`. Names are left out: they would let a peer choose our DNS
/// queries.
pub(crate) fn dialable(told: &Multiaddr, teller: Scope) -> Option<(Carrier, Multiaddr)> {
    let mut parts = told.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let has_id = matches!(told.iter().last(), Some(Protocol::P2p(_)));
    let between = parts.take(told.iter().count() - 1 - usize::from(has_id));
    let (carrier, port) = carrier(between)?;
    let ip = ip.to_canonical();
    (port != 0 && Scope::of(ip)? <= teller).then(|| (carrier, to_address(ip, carrier, port)))
}

fn to_address(ip: IpAddr, carrier: Carrier, port: u16) -> Multiaddr {
    let host = Multiaddr::from(ip);
    match carrier {
        Carrier::Tcp => host.with(Protocol::Tcp(port)),
        Carrier::Quic => host.with(Protocol::Udp(port)).with(Protocol::QuicV1),
    }
}

/// An address to listen on, with what the operating system calls it.
pub(crate) fn parse_listen(text: &str) -> Result<(Multiaddr, Carrier, SocketAddr), NetworkError> {
    let bad = |reason: &str| NetworkError::BadAddress {
        address: text.into(),
        purpose: "listen on",
        reason: reason.into(),
    };
    let address: Multiaddr = text.parse().map_err(|error| bad(&format!("{error}")))?;
    let (carrier, socket) = {
        let mut parts = address.iter();
        let ip = match parts.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            _ => return Err(bad("it must begin with /ip4 or /ip6")),
        };
        let Some((carrier, port)) = carrier(parts) else {
            return Err(bad("it must go on with /tcp/PORT or /udp/PORT/quic-v1 and end there"));
        };
        (carrier, SocketAddr::new(ip, port))
    };
    Ok((address, carrier, socket))
}

/// An address to dial: `(/ip4 | /ip6 | /dns | /dns4 | /dns6) (/tcp | /udp/…/quic-v1) [/p2p]`, or
/// `/dnsaddr`. The peer id is taken off.
pub(crate) fn parse_dial(text: &str) -> Result<(Multiaddr, Option<PeerId>), NetworkError> {
    let bad = |reason: &str| NetworkError::BadAddress {
        address: text.into(),
        purpose: "dial",
        reason: reason.into(),
    };
    let mut address: Multiaddr = text.parse().map_err(|error| bad(&format!("{error}")))?;
    let peer = match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            Some(peer)
        }
        _ => None,
    };
    match check_dial(&address) {
        Some(reason) => Err(bad(reason)),
        None => Ok((address, peer)),
    }
}

/// What is wrong with an address to dial, if anything.
fn check_dial(address: &Multiaddr) -> Option<&'static str> {
    let mut parts = address.iter();
    match parts.next() {
        Some(Protocol::Ip4(ip)) if ip.is_unspecified() || ip.is_multicast() => {
            return Some("nobody can be reached there");
        }
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() || ip.is_multicast() => {
            return Some("nobody can be reached there");
        }
        Some(
            Protocol::Ip4(_)
            | Protocol::Ip6(_)
            | Protocol::Dns(_)
            | Protocol::Dns4(_)
            | Protocol::Dns6(_),
        ) => {}
        Some(Protocol::Dnsaddr(_)) if parts.next().is_none() => return None,
        _ => return Some("it must begin with /ip4, /ip6, /dns, /dns4, /dns6 or be /dnsaddr"),
    }
    match carrier(parts) {
        Some((_, port)) if port != 0 => None,
        _ => Some("after the host comes /tcp/PORT or /udp/PORT/quic-v1, and at most /p2p/ID"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_teller_names_nothing_more_local_than_itself() {
        for (address, least) in [
            ("/ip4/8.8.8.8/tcp/1", Scope::Global),
            ("/ip6/2606:4700::1/tcp/1", Scope::Global),
            ("/ip4/10.1.2.3/tcp/1", Scope::Private),
            ("/ip4/100.64.0.1/tcp/1", Scope::Private),
            ("/ip4/169.254.1.1/tcp/1", Scope::Private),
            ("/ip4/192.0.2.1/tcp/1", Scope::Private),
            ("/ip6/fd00::1/tcp/1", Scope::Private),
            ("/ip6/2001:db8::1/tcp/1", Scope::Private),
            ("/ip4/127.0.0.1/tcp/1", Scope::Loopback),
            ("/ip6/::1/tcp/1", Scope::Loopback),
        ] {
            for teller in [Scope::Global, Scope::Private, Scope::Loopback] {
                let taken = dialable(&at(address), teller);
                assert_eq!(taken.is_some(), teller >= least, "{address} from {teller:?}");
                let quic = address.replace("/tcp/1", "/udp/1/quic-v1");
                let same = dialable(&at(&quic), teller);
                assert_eq!(same.is_some(), taken.is_some(), "{quic} from {teller:?}");
            }
        }
    }

    #[test]
    fn what_can_not_be_dialled_is_dropped() {
        for address in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/8.8.8.8/tcp/0",
            "/ip4/8.8.8.8/udp/1",
            "/ip4/8.8.8.8/udp/1/quic",
            "/ip4/8.8.8.8/udp/0/quic-v1",
            "/ip4/8.8.8.8/udp/1/quic-v1/webtransport",
            "/ip4/8.8.8.8/tcp/1/ws",
            "/ip6/::/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/dns4/example.org/tcp/1",
        ] {
            assert_eq!(dialable(&at(address), Scope::Loopback), None, "{address}");
        }
    }

    #[test]
    fn mapped_addresses_are_the_ipv4_ones_that_they_map() {
        let mapped = at("/ip6/::ffff:8.8.4.4/tcp/9");
        let canonical = (Carrier::Tcp, at("/ip4/8.8.4.4/tcp/9"));
        assert_eq!(dialable(&mapped, Scope::Global), Some(canonical));
        let id = PeerId::random();
        let mapped_quic = at(&format!("/ip6/::ffff:8.8.4.4/udp/9/quic-v1/p2p/{id}"));
        let canonical = (Carrier::Quic, at("/ip4/8.8.4.4/udp/9/quic-v1"));
        assert_eq!(dialable(&mapped_quic, Scope::Global), Some(canonical));
        assert_eq!(Origin::of(&mapped_quic), Origin::of(&mapped), "whatever transport it comes by");
        assert_eq!(Group::of(&mapped_quic), Group::of(&mapped));
        assert_eq!(Origin::of(&mapped), Origin::of(&at("/ip4/8.8.4.4/tcp/7")));
        for local in ["/ip6/::ffff:127.0.0.1/tcp/9", "/ip4/127.0.0.7/tcp/9", "/ip6/::1/tcp/9"] {
            assert!(Origin::of(&at(local)).unwrap().is_loopback(), "{local}");
        }
    }

    #[test]
    fn one_ipv6_customer_is_one_origin() {
        let one = Origin::of(&at("/ip6/2606:4700:1:2::1/tcp/1"));
        assert_eq!(one, Origin::of(&at("/ip6/2606:4700:1:2:ffff::9/tcp/1")));
        assert_ne!(one, Origin::of(&at("/ip6/2606:4700:1:3::1/tcp/1")));
    }

    #[test]
    fn operators_addresses() {
        let id = PeerId::random();
        let (address, peer) = parse_dial(&format!("/ip4/127.0.0.1/tcp/9333/p2p/{id}")).unwrap();
        assert_eq!((address, peer), (at("/ip4/127.0.0.1/tcp/9333"), Some(id)));
        for good in [
            "/dns4/seed.example/tcp/1",
            "/dnsaddr/seed.example",
            "/ip6/::1/tcp/1",
            "/ip6/::1/udp/1/quic-v1",
        ] {
            assert_eq!(parse_dial(good).unwrap(), (at(good), None));
        }
        for bad in
            ["", "127.0.0.1:9333", "/ip4/0.0.0.0/tcp/1", "/ip4/1.2.3.4/tcp/0", "/ip4/1.2.3.4"]
        {
            let error = parse_dial(bad).unwrap_err().to_string();
            assert!(error.contains("/ip4/192.0.2.1/tcp/9333"), "{error}");
        }
        assert_eq!(parse_listen("/ip4/0.0.0.0/tcp/0").unwrap().1, Carrier::Tcp);
        assert_eq!(parse_listen("/ip6/::/udp/9/quic-v1").unwrap().1, Carrier::Quic);
        assert!(
            is_quic("/ip6/::/udp/9/quic-v1") && !is_quic("/ip6/::/tcp/9") && !is_quic("quic-v1")
        );
        for bad in ["/dns4/a/tcp/1", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1/ws"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }
}
