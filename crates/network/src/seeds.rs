//! First addresses from DNS: `dnsaddr` records of the names in the configuration.
//!
//! `_dnsaddr.NAME` holds TXT records of the form `dnsaddr=/ip4/192.0.2.1/tcp/9333/p2p/ID`. They are
//! rumours for the address book like any others. Only the operator's own names are ever looked up:
//! a record that leads on to another name is left out. They are asked while there are too few
//! peers, and ever more seldom.

use std::collections::BTreeMap;

use hickory_resolver::{TokioResolver, proto::rr::RData};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    NetworkError,
    limits::{
        MAX_ADDRESSES_PER_PEER, MAX_SEED_PEERS, MAX_SEEDS, SEED_MS, SEED_PATIENCE_MS, SEED_TIMEOUT,
    },
    log::printable,
};

/// What one seed told: peers, each with where it may be.
pub(crate) type Told = BTreeMap<PeerId, Vec<Multiaddr>>;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Seeds {
    names: Vec<String>,
    next_ms: Option<u64>,
    wait_ms: u64,
    told: mpsc::Receiver<Told>,
    tell: mpsc::Sender<Told>,
}

impl Seeds {
    pub(crate) fn new(names: &[String]) -> Result<Self, NetworkError> {
        if names.len() > MAX_SEEDS {
            return Err(NetworkError::TooManySeeds { max: MAX_SEEDS });
        }
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(NetworkError::BadSeed { name: name.clone() });
        }
        // One place each: a look-up is not repeated before the last one is over.
        let (tell, told) = mpsc::channel(MAX_SEEDS);
        Ok(Self { names: names.to_vec(), next_ms: None, wait_ms: SEED_MS.0, told, tell })
    }

    /// Whether to ask now: at once where nobody is known, else after a while without enough peers.
    pub(crate) fn is_due(&mut self, now_ms: u64, lacks_peers: bool, knows_nobody: bool) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let patience_ms = if knows_nobody { 0 } else { SEED_PATIENCE_MS };
        let next_ms = *self.next_ms.get_or_insert(now_ms + patience_ms);
        if !lacks_peers || now_ms < next_ms {
            return false;
        }
        self.next_ms = Some(now_ms + self.wait_ms);
        self.wait_ms = (self.wait_ms * 2).min(SEED_MS.1);
        true
    }

    /// Asks all of them, each on a task of its own that ends in time.
    pub(crate) fn ask(&self) {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let resolver = match resolver {
            Ok(resolver) => resolver,
            Err(error) => {
                let error = printable(&error.to_string());
                return tracing::warn!("DNS seeds can't be asked: {error}");
            }
        };
        for name in &self.names {
            let (name, resolver, tell) = (name.clone(), resolver.clone(), self.tell.clone());
            tokio::spawn(async move {
                match timeout(SEED_TIMEOUT, look_up(&resolver, &name)).await {
                    Ok(Ok(told)) => {
                        tracing::info!(seed = %name, peers = told.len(), "a DNS seed answered");
                        // a full queue: what came before is enough
                        tell.try_send(told).unwrap_or_default();
                    }
                    Ok(Err(error)) => tracing::warn!(seed = %name, "a DNS seed: {error}"),
                    Err(_) => tracing::warn!(seed = %name, "a DNS seed does not answer"),
                }
            });
        }
    }

    /// The next that was told.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }
}

/// A host name, as DNS has them.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 240 && text.contains('.') && text.split('.').all(label)
}

async fn look_up(resolver: &TokioResolver, name: &str) -> Result<Told, String> {
    let answer = resolver.txt_lookup(format!("_dnsaddr.{name}.")).await;
    let answer = answer.map_err(|error| printable(&error.to_string()))?;
    let texts = answer.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    Ok(read(texts))
}

/// What can be used of the records.
fn read(texts: impl Iterator<Item = Vec<u8>>) -> Told {
    let mut told = Told::new();
    for text in texts {
        let text = std::str::from_utf8(&text).ok();
        let address = text.and_then(|text| text.strip_prefix("dnsaddr=")?.parse().ok());
        let Some(mut address): Option<Multiaddr> = address else { continue };
        let Some(Protocol::P2p(peer)) = address.pop() else { continue };
        if address.ip_addr().is_none()
            || (told.len() >= MAX_SEED_PEERS && !told.contains_key(&peer))
        {
            continue;
        }
        let addresses = told.entry(peer).or_default();
        if addresses.len() < MAX_ADDRESSES_PER_PEER {
            addresses.push(address);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
    };
    use tokio::net::UdpSocket;

    use super::*;
    use crate::limits::{MAX_SEED_PEERS, SEED_MS};

    fn record(address: &str, peer: PeerId) -> Vec<u8> {
        format!("dnsaddr={address}/p2p/{peer}").into_bytes()
    }

    #[test]
    fn records_are_rumours_of_bounded_number() {
        let (one, other) = (PeerId::random(), PeerId::random());
        let mut texts = vec![
            record("/ip4/192.0.2.1/tcp/9333", one),
            record("/ip4/192.0.2.1/udp/9333/quic-v1", one),
            record("/dnsaddr/elsewhere.example", other),
            record("/dns4/elsewhere.example/tcp/1", other),
            b"dnsaddr=/ip4/192.0.2.9/tcp/9333".to_vec(),
            b"v=spf1 -all".to_vec(),
            vec![0xff; 9],
        ];
        let told = read(texts.clone().into_iter());
        assert_eq!(told.len(), 1, "no name leads to another, and nobody has no id: {told:?}");
        assert_eq!(told[&one].len(), 2);
        for port in 1..=100 {
            texts.push(record(&format!("/ip4/192.0.2.1/tcp/{port}"), one));
        }
        for _ in 0..MAX_SEED_PEERS - 1 {
            texts.push(record("/ip4/192.0.2.2/tcp/1", PeerId::random()));
        }
        let at_limit = read(texts.clone().into_iter());
        assert_eq!(
            (at_limit.len(), at_limit[&one].len()),
            (MAX_SEED_PEERS, MAX_ADDRESSES_PER_PEER)
        );
        texts.push(record("/ip4/192.0.2.2/tcp/1", other));
        assert_eq!(read(texts.into_iter()), at_limit, "one over it");
    }

    #[test]
    fn seeds_are_asked_while_peers_lack_and_ever_more_seldom() {
        let names = ["seed.example.org".to_owned()];
        let mut seeds = Seeds::new(&names).unwrap();
        assert!(seeds.is_due(0, true, true), "at once where nobody is known");
        let mut now_ms = 0;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let before = now_ms;
            while !seeds.is_due(now_ms, true, true) {
                now_ms += 1_000;
            }
            waits.push(now_ms - before);
        }
        assert_eq!((waits[0], waits[9]), SEED_MS);
        assert!(!seeds.is_due(u64::MAX / 2, false, true), "never while there are enough");

        let mut patient = Seeds::new(&names).unwrap();
        assert!(!patient.is_due(0, true, false), "those who are known come first");
        assert!(!patient.is_due(SEED_PATIENCE_MS - 1, true, false));
        assert!(patient.is_due(SEED_PATIENCE_MS, true, false));
        assert!(!Seeds::new(&[]).unwrap().is_due(0, true, true), "none, and no query");
    }

    #[test]
    fn seeds_are_names_and_few() {
        let name = |number| format!("seed{number}.example.org");
        let many: Vec<_> = (0..MAX_SEEDS).map(name).collect();
        assert!(Seeds::new(&many).is_ok());
        let over = [many, vec![name(99)]].concat();
        assert!(matches!(Seeds::new(&over), Err(NetworkError::TooManySeeds { .. })));
        for bad in ["", "localhost", "a..b", "/dnsaddr/example.org", "a b.org", "ä.org"] {
            let error = Seeds::new(&[bad.to_owned()]).unwrap_err();
            assert!(error.to_string().contains("example.org"), "{error}");
        }
    }

    /// Answers every question with these TXT records, as RFC 1035 has it.
    async fn name_server(texts: Vec<Vec<u8>>) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let query = &query[..length];
                // the question: labels up to a zero, type, class
                let labels = query[12..].iter().position(|byte| *byte == 0).unwrap();
                let question = &query[12..12 + labels + 5];
                assert!(question.windows(8).any(|part| part.eq_ignore_ascii_case(b"_dnsaddr")));
                let count = u16::try_from(texts.len()).unwrap().to_be_bytes();
                let mut answer = query[..2].to_vec();
                answer.extend([0x84, 0, 0, 1, count[0], count[1], 0, 0, 0, 0]);
                answer.extend(question);
                for text in &texts {
                    let length = u8::try_from(text.len()).unwrap();
                    // its name is the question's; TXT, IN, a minute
                    answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, length + 1, length]);
                    answer.extend(text);
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_name_server_is_asked_for_the_records() {
        let peer = PeerId::random();
        let address = "/ip4/192.0.2.1/tcp/9333";
        let port = name_server(vec![record(address, peer), b"else".to_vec()]).await;
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let resolver = TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, vec![], vec![server]),
            TokioRuntimeProvider::default(),
        )
        .build()
        .unwrap();
        let asked = look_up(&resolver, "seed.example.org");
        let told = timeout(Duration::from_secs(20), asked).await.unwrap().unwrap();
        assert_eq!(told, Told::from([(peer, vec![address.parse().unwrap()])]));
    }
}
