//! Who may come in: pure checks on a request's headers.

use std::net::IpAddr;

use http::{
    HeaderMap,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use subtle::{Choice, ConstantTimeEq};

use crate::{client::UserPassword, error::RpcError};

/// Names of this machine that a `Host` header may always hold.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The doors of one server.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    /// What may stand after `Basic `; empty: everyone may come in.
    tokens: Vec<String>,
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Only this machine reaches the port.
    is_loopback: bool,
}

impl Doors {
    pub(super) fn new(
        users: impl IntoIterator<Item = UserPassword>,
        listening: IpAddr,
        allowed_hosts: &[String],
        allowed_origins: &[String],
    ) -> Self {
        let is_loopback = listening.is_loopback();
        // The number that the operator wrote down: no page's own name can be it.
        let listening = match listening {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let own = OWN_HOSTS.iter().map(|host| (*host).to_owned()).chain([listening]);
        Self {
            tokens: users.into_iter().map(|user| user.token()).collect(),
            hosts: own.chain(allowed_hosts.iter().map(|host| host.to_ascii_lowercase())).collect(),
            origins: allowed_origins.to_vec(),
            is_loopback,
        }
    }

    /// Judges the headers of a request, of HTTP and of a WebSocket's upgrade alike. First what a
    /// browser can be made to send, so that a page learns nothing of whether a password is right.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), RpcError> {
        self.check_place(headers)?;
        if !self.knows_caller(headers) {
            return Err(RpcError::Unauthorised);
        }
        Ok(())
    }

    /// From where a request comes, whoever sends it: enough for `/healthy` and `/ready`, which
    /// the watchers of machines ask without a password.
    pub(super) fn check_place(&self, headers: &HeaderMap) -> Result<(), RpcError> {
        if !self.knows_host(headers) {
            return Err(RpcError::HostRefused);
        }
        if !self.knows_origin(headers) {
            return Err(RpcError::OriginRefused);
        }
        Ok(())
    }

    /// [`Self::check`] for `/metrics`, which shows counts and heights alone: where only this machine
    /// reaches the port, a caller by one of its own names needs no password. One by a name that
    /// the operator allowed may come through a proxy, and does.
    pub(super) fn check_metrics(&self, headers: &HeaderMap) -> Result<(), RpcError> {
        match self.check(headers) {
            Err(RpcError::Unauthorised) if self.is_loopback && names_own_host(headers) => Ok(()),
            checked => checked,
        }
    }

    /// A page that made a browser believe that its own name is this machine's (DNS rebinding)
    /// still sends its own name here. Exactly one `Host`, in one of the forms known, with any
    /// port: a number in another notation or a trailing dot is none of them.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        host_name(headers).is_some_and(|name| self.hosts.contains(&name))
    }

    /// Programs send no `Origin`; a browser does, and can't be made to leave it out of a request
    /// across sites.
    fn knows_origin(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(ORIGIN)
            .iter()
            .all(|origin| self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()))
    }

    /// Compares in a time that does not depend on where the first difference is, with every
    /// token there is.
    fn knows_caller(&self, headers: &HeaderMap) -> bool {
        if self.tokens.is_empty() {
            return true;
        }
        let Some(token) = only_value(headers, &AUTHORIZATION).and_then(basic_token) else {
            return false;
        };
        let known = self.tokens.iter().map(|known| known.as_bytes().ct_eq(token.as_bytes()));
        known.fold(Choice::from(0), |any, this| any | this).into()
    }
}

/// The name in `Host`, without its port and in lower case.
fn host_name(headers: &HeaderMap) -> Option<String> {
    let host = only_value(headers, &HOST)?.to_ascii_lowercase();
    match host.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address is not a port's.
        Some((name, port)) if !port.contains(']') => {
            let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            is_port.then(|| name.to_owned())
        }
        _ => Some(host),
    }
}

fn names_own_host(headers: &HeaderMap) -> bool {
    host_name(headers).is_some_and(|name| OWN_HOSTS.contains(&name.as_str()))
}

/// The value of a header that stands exactly once.
fn only_value<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn basic_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn doors() -> Doors {
        let user = UserPassword { user: "u".into(), password: "p".into() };
        let listening = "192.0.2.1".parse().unwrap();
        let (hosts, origins) = (["Node.Example".into()], ["https://explorer.example".into()]);
        Doors::new([user], listening, &hosts, &origins)
    }

    // "u:p"
    const TOKEN: &str = "Basic dTpw";

    #[test]
    fn a_host_is_known_in_its_plain_forms_alone() {
        for (host, known) in [
            ("localhost", true),
            ("LOCALHOST:9332", true),
            ("127.0.0.1", true),
            ("127.0.0.1:1", true),
            ("[::1]", true),
            ("[::1]:9332", true),
            ("node.example:80", true),
            ("192.0.2.1:9332", true),
            ("192.0.2.2", false),
            ("", false),
            ("localhost.", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("127.0.0.1.nip.io", false),
            ("127.1", false),
            ("2130706433", false),
            ("0x7f000001", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("[::ffff:127.0.0.1]", false),
            ("evil.example", false),
            ("evil.example@localhost", false),
        ] {
            let headers = headers(&[(HOST, host), (AUTHORIZATION, TOKEN)]);
            assert_eq!(doors().check(&headers).is_ok(), known, "{host:?}");
        }
        let token = (AUTHORIZATION, TOKEN);
        let refused = Err(RpcError::HostRefused);
        assert_eq!(doors().check(&headers(std::slice::from_ref(&token))), refused);
        let twice = headers(&[(HOST, "localhost"), (HOST, "evil.example"), token]);
        assert_eq!(doors().check(&twice), refused);
    }

    #[test]
    fn an_origin_must_be_on_the_list() {
        for (origin, known) in [
            ("https://explorer.example", true),
            ("http://explorer.example", false),
            ("https://explorer.example.evil", false),
            ("http://localhost:9332", false),
            ("null", false),
            ("", false),
        ] {
            let headers = headers(&[(HOST, "localhost"), (ORIGIN, origin), (AUTHORIZATION, TOKEN)]);
            assert_eq!(doors().check(&headers).is_ok(), known, "{origin:?}");
        }
    }

    #[test]
    fn a_caller_must_show_the_token() {
        for (value, known) in [
            ("Basic dTpw", true),
            ("basic dTpw", true),
            ("Basic dTpx", false),
            ("Basic dTp", false),
            ("Basic dTpwdTpw", false),
            ("Basic", false),
            ("Basic ", false),
            ("Bearer dTpw", false),
            ("dTpw", false),
        ] {
            let headers = headers(&[(HOST, "localhost"), (AUTHORIZATION, value)]);
            assert_eq!(doors().check(&headers).is_ok(), known, "{value:?}");
        }
        let none = headers(&[(HOST, "localhost")]);
        assert_eq!(doors().check(&none), Err(RpcError::Unauthorised));
        let open = Doors::new([], IpAddr::from([127, 0, 0, 1]), &[], &[]);
        assert_eq!(open.check(&none), Ok(()));
    }
}
