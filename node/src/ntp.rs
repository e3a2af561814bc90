//! How far the machine's clock is from a time server's: one question by SNTP (RFC 4330), asked
//! where an operator names a server and never by a node that runs.

use std::{
    net::{ToSocketAddrs as _, UdpSocket},
    time::{Duration, Instant},
};

use crate::clock::machine_unix_ms;

/// The protocol's port.
const PORT: u16 = 123;
/// Longest wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Length of a message, in bytes.
const MESSAGE_BYTES: usize = 48;
/// From 1900, where the protocol's seconds begin, to 1970.
const TO_1970_SECONDS: u64 = 2_208_988_800;
/// First byte of a question: version 4, from a client.
const QUESTION: u8 = 0b00_100_011;
/// The low three bits of an answer's first byte.
const FROM_SERVER: u8 = 4;

/// Milliseconds by which this machine's clock is ahead of `server`'s (`HOST` or `HOST:PORT`); an
/// error says why nobody knows.
pub(crate) fn offset_ms(server: &str) -> Result<i64, String> {
    let named = if server.contains(':') { server.to_owned() } else { format!("{server}:{PORT}") };
    ask(&named).map_err(|error| format!("{named}: {error}"))
}

fn ask(server: &str) -> Result<i64, String> {
    let told = |error: std::io::Error| error.to_string();
    let address = server.to_socket_addrs().map_err(told)?.next().ok_or("no such host")?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).map_err(told)?;
    socket.connect(address).map_err(told)?;
    socket.set_read_timeout(Some(TIMEOUT)).map_err(told)?;
    let mut question = [0; MESSAGE_BYTES];
    // The server gives back the last eight bytes: an answer to another question has others.
    let mark: [u8; 8] = rand::random();
    question[0] = QUESTION;
    question[MESSAGE_BYTES - mark.len()..].copy_from_slice(&mark);
    let (asked_ms, asked) = (machine_unix_ms(), Instant::now());
    socket.send(&question).map_err(told)?;
    let mut answer = [0; MESSAGE_BYTES];
    let length = socket.recv(&mut answer).map_err(told)?;
    let round_trip_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    let is_answer = length == MESSAGE_BYTES
        && answer[0] & 0b111 == FROM_SERVER
        && answer[1] != 0
        && answer[24..32] == mark;
    if !is_answer {
        return Err("its answer is none".to_owned());
    }
    let server_ms = unix_ms(&answer[40..48]).ok_or("its answer holds no time")?;
    let own_ms = asked_ms.saturating_add(round_trip_ms / 2);
    Ok(own_ms.cast_signed().saturating_sub(server_ms.cast_signed()))
}

/// A timestamp of the protocol: seconds since 1900 and their binary fraction.
fn unix_ms(timestamp: &[u8]) -> Option<u64> {
    let (seconds, fraction) = timestamp.split_at_checked(4)?;
    let number = |bytes: &[u8]| Some(u64::from(u32::from_be_bytes(bytes.try_into().ok()?)));
    let since_1970 = number(seconds)?.checked_sub(TO_1970_SECONDS)?;
    Some(since_1970 * 1_000 + ((number(fraction)? * 1_000) >> 32))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A time server that is so far ahead, for one question.
    fn server(ahead_seconds: u64, change: fn(&mut [u8; MESSAGE_BYTES])) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut question = [0; MESSAGE_BYTES];
            let (_, from) = socket.recv_from(&mut question).unwrap();
            assert_eq!(question[0], QUESTION);
            let mut answer = [0; MESSAGE_BYTES];
            (answer[0], answer[1]) = (0b00_100_100, 2);
            answer[24..32].copy_from_slice(&question[40..48]);
            let seconds = machine_unix_ms() / 1_000 + TO_1970_SECONDS + ahead_seconds;
            answer[40..44].copy_from_slice(&u32::try_from(seconds).unwrap().to_be_bytes());
            change(&mut answer);
            socket.send_to(&answer, from).unwrap();
        });
        address.to_string()
    }

    #[test]
    fn the_offset_is_told_and_what_is_no_answer_is_an_error() {
        let offset = offset_ms(&server(100, |_| {})).unwrap();
        assert!((-105_000..=-95_000).contains(&offset), "{offset}");
        let changes: [fn(&mut [u8; MESSAGE_BYTES]); 4] = [
            |answer| answer[0] = QUESTION,
            |answer| answer[1] = 0,
            |answer| answer[24] ^= 1,
            |answer| answer[40..48].fill(0),
        ];
        for change in changes {
            let error = offset_ms(&server(0, change)).unwrap_err();
            assert!(error.contains("its answer"), "{error}");
        }
    }
}
