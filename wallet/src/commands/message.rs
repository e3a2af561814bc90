//! Messages: signed by an address, and checked.

use ashlar_primitives::Address;
use serde_json::json;

use super::Context;
use crate::{failure::Failure, message};

pub(super) fn sign(context: &Context<'_>, address: &str, text: &str) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let address = Address::parse(address, &keystore.chain().address_prefix)?;
    let own = keystore.key_of(&address.lock).map(|key| (key.change, key.index));
    let foreign = || Failure::ForeignAddress { address: address.to_string() };
    let (change, index) = own.ok_or_else(foreign)?;
    let key = context.unlock()?.secret_key(change, index)?;
    let signature = message::sign(&key, text.as_bytes()).to_string();
    context.tell(
        &json!({ "address": address.to_string(), "signature": signature }),
        std::slice::from_ref(&signature),
    );
    Ok(())
}

pub(super) fn verify(
    context: &Context<'_>,
    address: &str,
    signature: &str,
    text: &str,
) -> Result<(), Failure> {
    // An address says itself which chain it is of; no wallet is needed to check a message.
    let prefix = address.rsplit_once('1').map_or("", |(prefix, _)| prefix).to_lowercase();
    let address = Address::parse(address, &prefix)?;
    message::verify(&address, text.as_bytes(), signature)?;
    context.tell(
        &json!({ "address": address.to_string(), "good": true }),
        &[format!("The owner of {address} signed this.")],
    );
    Ok(())
}
