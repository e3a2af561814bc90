//! Addresses: text that people mistype.

use ashlar_primitives::{Address, Lock};

use crate::steer::Steer;

const CHARSET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Wrong letters that bech32m always notices, in a text of up to 90.
const ALWAYS_NOTICED: usize = 4;

/// Any text is an address in its one form, or refused; what an address is mistyped into, by up to
/// four letters, is none.
pub fn address(data: &[u8]) {
    let mut steer = Steer::new(data);
    if steer.flag() {
        let prefix_len = steer.below(18);
        let text = String::from_utf8_lossy(steer.take_rest()).into_owned();
        let prefix: String = text.chars().take(prefix_len).collect();
        parsed(&text, &prefix);
        parsed(&text, &prefix.to_lowercase());
        return;
    }
    let letters = 1 + steer.below(Address::MAX_PREFIX_LEN);
    let prefix: String = (0..letters).map(|_| char::from(b'a' + steer.byte() % 26)).collect();
    let lock = Lock { version: steer.byte() % 2, program: steer.array() };
    let text = Address::new(&prefix, lock).unwrap().to_string();
    assert_eq!(parsed(&text, &prefix).unwrap().lock, lock);
    assert_eq!(parsed(&text.to_uppercase(), &prefix).unwrap().lock, lock);

    let mut typed = text.clone().into_bytes();
    for _ in 0..1 + steer.below(ALWAYS_NOTICED) {
        // Behind the separator: another prefix is another chain.
        let place = prefix.len() + 1 + steer.below(text.len() - prefix.len() - 1);
        typed[place] = *steer.pick(CHARSET);
    }
    let typed = String::from_utf8(typed).unwrap();
    assert_eq!(Address::parse(&typed, &prefix).is_ok(), typed == text, "{text} as {typed}");
}

fn parsed(text: &str, prefix: &str) -> Option<Address> {
    let address = Address::parse(text, prefix).ok()?;
    assert!(Address::is_prefix(prefix) && address.lock.is_known(), "{text}");
    assert_eq!(address.to_string(), text.to_ascii_lowercase());
    assert!(text == text.to_ascii_lowercase() || text == text.to_ascii_uppercase());
    Some(address)
}
