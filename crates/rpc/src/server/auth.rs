//! Who may come in: checks on a request's headers.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
};
use tokio::time::Instant;

use super::{
    caller::Caller,
    token::{Token, TokenHash},
};
use crate::{client::UserPassword, error::RpcError};

/// Names of this machine that a `Host` header may always hold.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The doors of one server.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    /// Of `name:password`, cookie among them.
    operators: Vec<TokenHash>,
    operator: Caller,
    tokens: Vec<(TokenHash, Caller)>,
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Only this machine reaches the port.
    is_loopback: bool,
}

impl Doors {
    pub(super) fn new(
        users: impl IntoIterator<Item = UserPassword>,
        tokens: &[Token],
        max_at_once: u32,
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
        let password = |user: UserPassword| {
            TokenHash::of(format!("{}:{}", user.user, user.password).as_bytes())
        };
        let (max_at_once, now) = (max_at_once as usize, Instant::now());
        let holder = |token: &Token| (token.hash, Caller::holder(token, max_at_once, now));
        Self {
            operators: users.into_iter().map(password).collect(),
            operator: Caller::operator(max_at_once),
            tokens: tokens.iter().map(holder).collect(),
            hosts: own.chain(allowed_hosts.iter().map(|host| host.to_ascii_lowercase())).collect(),
            origins: allowed_origins.to_vec(),
            is_loopback,
        }
    }

    /// Judges the headers of a request, of HTTP and of a WebSocket's upgrade alike. First what a
    /// browser can be made to send, so that a page learns nothing of whether a password is right.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Caller, RpcError> {
        self.check_place(headers)?;
        self.caller(headers).ok_or(RpcError::Unauthorised)
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
            checked => checked.map(drop),
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

    /// Who calls: by name and password, or by a token, which stands in the password's place (any
    /// name beside it) or after `Bearer `. Looks at every secret there is, whichever fits, and
    /// compares hashes in constant time: how long it takes tells nothing of any of them.
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.operators.is_empty() && self.tokens.is_empty() {
            return Some(self.operator.clone());
        }
        let (scheme, shown) = only_value(headers, &AUTHORIZATION)?.split_once(' ')?;
        let (whole, token) = if scheme.eq_ignore_ascii_case("basic") {
            let pair = BASE64.decode(shown.trim()).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            (Some(TokenHash::of(&pair)), TokenHash::of(pair.split_at(colon + 1).1))
        } else if scheme.eq_ignore_ascii_case("bearer") {
            (None, TokenHash::of(shown.trim().as_bytes()))
        } else {
            return None;
        };
        let mut caller = None;
        for known in &self.operators {
            if whole.is_some_and(|whole| known.matches(&whole).into()) {
                caller = Some(&self.operator);
            }
        }
        for (known, holder) in &self.tokens {
            if known.matches(&token).into() {
                caller = caller.or(Some(holder));
            }
        }
        caller.cloned()
    }
}

/// Whether the body is JSON by its headers. Old clients say `text/plain` or nothing, which a page
/// can make a browser send without being asked first; never with an `Authorization` of its
/// choice, and never without `Origin`.
pub(super) fn says_json(headers: &HeaderMap) -> bool {
    let vouched = headers.contains_key(AUTHORIZATION) && !headers.contains_key(ORIGIN);
    if !headers.contains_key(CONTENT_TYPE) {
        return vouched;
    }
    let Some(kind) = only_value(headers, &CONTENT_TYPE) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" | "application/json-rpc" => true,
        "text/plain" => vouched,
        _ => false,
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::scope::Scope;

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
        let token = Token {
            name: "explorer".into(),
            hash: TokenHash::of(b"secret"),
            scopes: vec![Scope::Read],
            calls_per_second: None,
        };
        let (hosts, origins) = (["Node.Example".into()], ["https://explorer.example".into()]);
        Doors::new([user], &[token], 4, listening, &hosts, &origins)
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
        let refused = Some(RpcError::HostRefused);
        assert_eq!(doors().check(&headers(std::slice::from_ref(&token))).err(), refused);
        let twice = headers(&[(HOST, "localhost"), (HOST, "evil.example"), token]);
        assert_eq!(doors().check(&twice).err(), refused);
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
    fn a_caller_must_show_a_secret_and_is_known_by_it() {
        for (value, who) in [
            ("Basic dTpw", Some("operator")),
            ("basic dTpw", Some("operator")),
            ("Basic dTpx", None),
            ("Basic dTp", None),
            ("Basic dTpwdTpw", None),
            ("Basic", None),
            ("Basic ", None),
            ("Bearer dTpw", None),
            ("dTpw", None),
            // "any:secret", ":secret", "secret" and "any:secretx"
            ("Basic YW55OnNlY3JldA==", Some("explorer")),
            ("Basic OnNlY3JldA==", Some("explorer")),
            ("Basic c2VjcmV0", None),
            ("Basic YW55OnNlY3JldHg=", None),
            ("Bearer secret", Some("explorer")),
            ("bearer secret", Some("explorer")),
            ("Bearer secre", None),
            ("Bearer secret secret", None),
            // The password of a user is no token, and a user no password.
            ("Bearer u:p", None),
            ("Bearer p", None),
        ] {
            let headers = headers(&[(HOST, "localhost"), (AUTHORIZATION, value)]);
            let found = doors().check(&headers).ok();
            assert_eq!(found.as_ref().map(Caller::name), who, "{value:?}");
        }
        let none = headers(&[(HOST, "localhost")]);
        assert_eq!(doors().check(&none).err(), Some(RpcError::Unauthorised));
        let open = Doors::new([], &[], 1, IpAddr::from([127, 0, 0, 1]), &[], &[]);
        assert_eq!(open.check(&none).unwrap().name(), "operator");
    }

    #[test]
    fn plain_text_is_json_only_from_a_program_that_shows_a_password() {
        let authorization = (AUTHORIZATION, TOKEN);
        let origin = (ORIGIN, "https://explorer.example");
        for (kind, plain, with_password, with_both) in [
            ("application/json", true, true, true),
            ("application/json; charset=utf-8", true, true, true),
            ("application/json-rpc", true, true, true),
            ("text/plain", false, true, false),
            ("text/plain;charset=UTF-8", false, true, false),
            ("application/x-www-form-urlencoded", false, false, false),
            ("text/plainer", false, false, false),
            ("", false, false, false),
        ] {
            let kind = (CONTENT_TYPE, kind);
            let both = [kind.clone(), authorization.clone(), origin.clone()];
            assert_eq!(says_json(&headers(&both[..1])), plain, "{kind:?}");
            assert_eq!(says_json(&headers(&both[..2])), with_password, "{kind:?}");
            assert_eq!(says_json(&headers(&both)), with_both, "{kind:?}");
        }
        assert!(says_json(&headers(std::slice::from_ref(&authorization))));
        assert!(!says_json(&headers(&[authorization, origin])));
        assert!(!says_json(&headers(&[])));
    }
}
