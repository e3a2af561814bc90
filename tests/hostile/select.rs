//! multistream-select 1.0: lines with their length before them, one proposal after the other.

use std::io;

use crate::{Pipe, protobuf::varint};

/// The first line of either side.
pub const HEADER: &str = "/multistream/1.0.0";
/// The most that a line of the other side may measure.
const MAX_LINE_BYTES: usize = 1_024;

/// A line as it stands on the wire.
pub fn line(text: &str) -> Vec<u8> {
    let mut bytes = varint(text.len() as u64 + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

async fn read_line(pipe: &mut impl Pipe) -> io::Result<String> {
    let length = read_varint(pipe).await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_LINE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = pipe.take(length).await?;
    bytes.pop();
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A number as protobuf and multistream-select write it.
///
/// # Errors
/// Where the pipe ends, or the number is longer than 64 bits.
pub async fn read_varint(pipe: &mut impl Pipe) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = pipe.take(1).await?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// As the dialler: proposes one protocol.
///
/// # Errors
/// Where the other side does not speak it, or hangs up.
pub async fn propose(pipe: &mut impl Pipe, protocol: &str) -> io::Result<()> {
    let mut both = line(HEADER);
    both.extend(line(protocol));
    pipe.send(&both).await?;
    for expected in [HEADER, protocol] {
        if read_line(pipe).await? != expected {
            return Err(io::Error::new(io::ErrorKind::Unsupported, protocol.to_owned()));
        }
    }
    Ok(())
}

/// As the listener: the first proposal that `speaks` takes.
///
/// # Errors
/// Where the other side runs out of proposals.
pub async fn listen(pipe: &mut impl Pipe, speaks: impl Fn(&str) -> bool) -> io::Result<String> {
    if read_line(pipe).await? != HEADER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    pipe.send(&line(HEADER)).await?;
    loop {
        let proposal = read_line(pipe).await?;
        if speaks(&proposal) {
            pipe.send(&line(&proposal)).await?;
            return Ok(proposal);
        }
        pipe.send(&line("na")).await?;
    }
}
