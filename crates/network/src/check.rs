//! What the network would refuse of a configuration, found without starting it: for commands that
//! tell an operator beforehand.

use libp2p::PeerId;

use crate::{
    Config, NetworkError, address, behaviour::allowed_peers, seeds::Seeds, task::listening::claim,
    transport::network_secret,
};

impl Config {
    /// Everything that [`crate::start`] would refuse, ports that are taken apart ([`taken`]), in
    /// the order of the fields. Reads the file of the secret, and writes nothing.
    pub fn problems(&self) -> Vec<NetworkError> {
        let carriers = self.carriers();
        let listen = self.listen.iter().map(|text| address::parse_listen(text).map(drop));
        let dialled = self.peers.iter().chain(&self.external_addresses);
        let dialled = dialled.map(|text| address::parse_dial(text).map(drop));
        let carried = self.addresses().map(|text| carriers.check(text));
        // Whose key it is does not matter here: it is only left out of the list.
        let allowed = allowed_peers(self, PeerId::random()).map(drop);
        let secret = self.network_secret_file.as_deref().map(|path| network_secret(path).map(drop));
        let seeds = Seeds::new(&self.dns_seeds).map(drop);
        let checked = listen.chain(dialled).chain(carried).chain([allowed, seeds]).chain(secret);
        checked.filter_map(Result::err).collect()
    }
}

/// The multiaddresses to listen on whose port another program holds.
pub fn taken(listen: &[String]) -> Vec<String> {
    let is_taken = |text: &&String| matches!(claim(text), Err(NetworkError::PortInUse { .. }));
    listen.iter().filter(is_taken).cloned().collect()
}
