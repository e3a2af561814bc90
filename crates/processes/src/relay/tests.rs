use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Instant,
};

use super::*;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// What must not come is waited for so long; that it is too short hides a fault and makes none.
const SILENCE: Duration = Duration::from_millis(200);

/// A line and both its ends, connected.
struct Pair {
    relay: Relay,
    link: Link,
    far: TcpListener,
    ends: [TcpStream; 2],
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn at(listener: &TcpListener) -> Target {
    Target::At(listener.local_addr().unwrap())
}

fn pair(shape: Shape) -> Pair {
    let relay = Relay::start().unwrap();
    let far = TcpListener::bind(any()).unwrap();
    let link = relay.link(any(), at(&far), 1).unwrap();
    link.set_shape(Direction::Back, shape);
    let near = TcpStream::connect(link.address()).unwrap();
    let (back, _) = far.accept().unwrap();
    Pair { relay, link, far, ends: [near, back] }
}

impl Pair {
    /// Says something on one end, and reads it at the other within a time; what arrived.
    fn carries(&mut self, direction: Direction, text: &[u8], patience: Duration) -> Vec<u8> {
        let [near, far] = &mut self.ends;
        let (from, to) = match direction {
            Direction::Forth => (near, far),
            Direction::Back => (far, near),
        };
        from.write_all(text).unwrap();
        arrived(to, text.len(), patience)
    }
}

/// At most so many bytes, as many as come in time.
fn arrived(from: &mut TcpStream, wanted: usize, patience: Duration) -> Vec<u8> {
    let deadline = Instant::now() + patience;
    let mut bytes = vec![0; wanted];
    let mut count = 0;
    while count < wanted {
        let left = deadline.saturating_duration_since(Instant::now());
        from.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        match from.read(&mut bytes[count..]) {
            Ok(more @ 1..) => count += more,
            _ => break,
        }
    }
    bytes.truncate(count);
    bytes
}

#[test]
fn bytes_pass_unchanged_both_ways_and_an_end_is_passed_on() {
    let mut pair = pair(Shape::default());
    let text: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    assert!(pair.carries(Direction::Forth, &text, PATIENCE) == text);
    assert!(pair.carries(Direction::Back, &text, PATIENCE) == text);
    let [near, mut far] = pair.ends;
    near.shutdown(std::net::Shutdown::Write).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 0, "the far side hears that the near one is done");
}

#[test]
fn a_cut_holds_what_is_said_until_it_is_joined_and_each_way_by_itself() {
    let mut pair = pair(Shape::default());
    pair.link.set_cut(Direction::Back, true);
    assert_eq!(pair.carries(Direction::Forth, b"one way", PATIENCE), b"one way");
    assert_eq!(pair.carries(Direction::Back, b"held", SILENCE), b"");
    // Nor does anyone get through who comes now.
    let mut late = TcpStream::connect(pair.link.address()).unwrap();
    late.write_all(b"late").unwrap();
    pair.far.set_nonblocking(true).unwrap();
    assert!(pair.far.accept().is_err(), "accepted through a cut");
    pair.link.set_cut(Direction::Back, false);
    assert_eq!(arrived(&mut pair.ends[0], 4, PATIENCE), b"held");
    pair.far.set_nonblocking(false).unwrap();
    let (mut behind, _) = pair.far.accept().unwrap();
    assert_eq!(arrived(&mut behind, 4, PATIENCE), b"late");
}

#[test]
fn latency_is_kept_and_a_slow_line_is_slow() {
    let mut pair = pair(Shape { latency: Delay::from_ms(150), ..Shape::default() });
    let start = Instant::now();
    assert_eq!(pair.carries(Direction::Back, b"x", PATIENCE), b"x");
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    let bandwidth = Some(Bandwidth::from_bytes_per_second(10_000));
    pair.link.set_shape(Direction::Back, Shape { bandwidth, ..Shape::default() });
    let start = Instant::now();
    assert_eq!(pair.carries(Direction::Back, &[7; 5_000], PATIENCE).len(), 5_000);
    // A first portion may be as large as the line was wide when it was asked for.
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn a_line_falls_silent_after_its_bytes_and_stays_open() {
    let mut pair = pair(Shape { silent_after_bytes: Some(1_234), ..Shape::default() });
    assert_eq!(pair.carries(Direction::Back, &[7; 10_000], SILENCE).len(), 1_234);
    let text = b"heard";
    assert_eq!(pair.carries(Direction::Forth, text, PATIENCE), text);
}

#[test]
fn a_reset_ends_connections_and_the_next_goes_to_where_the_link_is_aimed() {
    let mut pair = pair(Shape::default());
    pair.link.reset();
    for end in &mut pair.ends {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(end.read(&mut [0]), Ok(0) | Err(_)));
    }
    let other = TcpListener::bind(any()).unwrap();
    // While the node starts, who dials waits; where none runs, nobody is kept.
    pair.link.aim(Target::Soon);
    let _near = TcpStream::connect(pair.link.address()).unwrap();
    pair.link.aim(at(&other));
    other.accept().unwrap();
    pair.link.aim(Target::Nowhere);
    let mut refused = TcpStream::connect(pair.link.address()).unwrap();
    refused.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
    let address = pair.link.address();
    drop(pair.link);
    // The port is free again, soon: the task lets go of it.
    let again = crate::wait_for(|| pair.relay.link(address, Target::Nowhere, 1).ok());
    assert!(again.is_some());
}

#[test]
fn a_multiaddress_leads_through_the_line() {
    let pair = pair(Shape::default());
    let port = pair.link.address().port();
    let through = pair.link.in_front_of("/ip4/10.0.0.7/tcp/9333/p2p/12D3").unwrap();
    assert_eq!(through, format!("/ip4/127.0.0.1/tcp/{port}/p2p/12D3"));
    assert_eq!(socket_address(&through), Some(pair.link.address()));
    assert!(pair.link.in_front_of("/ip4/10.0.0.7/udp/9333/quic-v1").is_none());
}
