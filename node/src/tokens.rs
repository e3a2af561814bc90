//! Tokens of the RPC port: as the configuration writes them, and `ashlar-node token new`.

use ashlar_rpc::{
    scope::{Scope, UnknownScope},
    server::{BadTokenHash, MAX_CALLS_PER_SECOND, Token, TokenHash, new_token},
};
use clap::{Args, Subcommand};
use serde::Deserialize;
use thiserror::Error;

use crate::Failure;

/// Most tokens of one configuration: each is compared at every call.
const MAX_TOKENS: usize = 100;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// One `[[rpc_tokens]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenTable {
    name: String,
    hash: String,
    scopes: Vec<String>,
    calls_per_second: Option<u32>,
}

/// A token that can't be used.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    #[error("rpc_tokens: {name:?} is no name; use 1 to {MAX_NAME_BYTES} letters, digits, - and _")]
    BadName { name: String },
    #[error("rpc_tokens: two are called {name}; give each its own name")]
    SameName { name: String },
    #[error("rpc_tokens: {count} are too many; at most {MAX_TOKENS}")]
    TooMany { count: usize },
    #[error("rpc_tokens, {name}: {error}")]
    BadHash { name: String, error: BadTokenHash },
    #[error("rpc_tokens, {name}: {error}")]
    BadScope { name: String, error: UnknownScope },
    #[error("rpc_tokens, {name}: without a scope it opens nothing; give it one, such as \"read\"")]
    NoScope { name: String },
    #[error("rpc_tokens, {name}: calls_per_second is 1 to {MAX_CALLS_PER_SECOND}, or left out")]
    BadRate { name: String },
}

/// The tokens of a configuration, each checked.
pub(crate) fn read(tables: Vec<TokenTable>) -> Result<Vec<Token>, TokenError> {
    if tables.len() > MAX_TOKENS {
        return Err(TokenError::TooMany { count: tables.len() });
    }
    let mut tokens: Vec<Token> = Vec::new();
    for table in tables {
        let token = table.read()?;
        if tokens.iter().any(|known| known.name == token.name) {
            return Err(TokenError::SameName { name: token.name });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

impl TokenTable {
    fn read(self) -> Result<Token, TokenError> {
        let Self { name, hash, scopes, calls_per_second } = self;
        if !is_name(&name) {
            return Err(TokenError::BadName { name });
        }
        let hash: TokenHash = match hash.parse() {
            Ok(hash) => hash,
            Err(error) => return Err(TokenError::BadHash { name, error }),
        };
        let scopes: Result<Vec<Scope>, _> = scopes.iter().map(|scope| scope.parse()).collect();
        let scopes = match scopes {
            Ok(scopes) if scopes.is_empty() => return Err(TokenError::NoScope { name }),
            Ok(scopes) => scopes,
            Err(error) => return Err(TokenError::BadScope { name, error }),
        };
        if calls_per_second.is_some_and(|rate| !(1..=MAX_CALLS_PER_SECOND).contains(&rate)) {
            return Err(TokenError::BadRate { name });
        }
        Ok(Token { name, hash, scopes, calls_per_second })
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and the lines that let it in.
    New(NewArguments),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NewArguments {
    /// What the token is called in the configuration and in the log.
    #[arg(long, default_value = "program")]
    name: String,
    /// What its holder may do: read, wallet-broadcast, mine, or admin, which is everything; may be
    /// repeated.
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// Most calls a second, in the long run [default: no limit].
    #[arg(long, value_name = "N")]
    calls_per_second: Option<u32>,
}

/// Prints the token, which is shown this once and kept nowhere, and its table.
pub(crate) fn run(command: &TokenCommand) -> Result<(), Failure> {
    let TokenCommand::New(NewArguments { name, scopes, calls_per_second }) = command;
    let (text, hash) = new_token()?;
    let table = TokenTable {
        name: name.clone(),
        hash: hash.to_string(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        calls_per_second: *calls_per_second,
    };
    let token = table.read()?;
    println!("{text}");
    println!();
    println!("# The line above is the token: it is shown this once. Give it to its holder, as");
    println!(
        "# `Authorization: Bearer TOKEN`, or as the password beside any name. The lines below"
    );
    println!("# belong at the end of ashlar.toml; start the node anew.");
    println!();
    print!("{}", shown(&token));
    Ok(())
}

/// All of them as the value of one key: `config show`.
pub(crate) fn inline(tokens: &[Token]) -> String {
    let tables = tokens.iter().map(|token| {
        let lines = shown(token);
        let (_, keys) = lines.trim_end().split_once('\n').unwrap_or_default();
        format!("{{ {} }}", keys.replace('\n', ", "))
    });
    format!("[{}]", tables.collect::<Vec<_>>().join(", "))
}

fn shown(token: &Token) -> String {
    let Token { name, hash, scopes, calls_per_second } = token;
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let mut table = format!(
        "[[rpc_tokens]]\nname = \"{name}\"\nhash = \"{hash}\"\nscopes = [{}]\n",
        scopes.join(", ")
    );
    if let Some(rate) = calls_per_second {
        table.push_str(&format!("calls_per_second = {rate}\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        rpc_tokens: Vec<TokenTable>,
    }

    fn parse(text: &str) -> Result<Vec<Token>, TokenError> {
        read(toml::from_str::<File>(text).unwrap().rpc_tokens)
    }

    #[test]
    fn what_is_printed_is_what_is_read() {
        let hash = new_token().unwrap().1;
        let scopes = vec![Scope::Read, Scope::WalletBroadcast];
        let name = "shop-1".to_owned();
        let mut tokens = vec![Token { name, hash, scopes, calls_per_second: Some(50) }];
        assert_eq!(parse(&shown(&tokens[0])).unwrap(), tokens);
        tokens.push(Token { name: "b".into(), calls_per_second: None, ..tokens[0].clone() });
        assert_eq!(parse(&(shown(&tokens[0]) + &shown(&tokens[1]))).unwrap(), tokens);
    }

    #[test]
    fn each_fault_is_named() {
        let hash = new_token().unwrap().1;
        let good =
            format!("[[rpc_tokens]]\nname = \"a\"\nhash = \"{hash}\"\nscopes = [\"read\"]\n");
        assert!(parse(&good).is_ok());
        for (change, to, named) in [
            ("\"a\"", "\"a b\"", "is no name"),
            ("\"a\"", "\"\"", "is no name"),
            ("sha256:", "sha256:0", "64 hex digits"),
            ("\"read\"", "\"reed\"", "no such scope: reed"),
            ("\"read\"", "", "without a scope"),
            ("]\n", "]\ncalls_per_second = 0\n", "calls_per_second"),
        ] {
            // The last one only: the table's own line ends with a bracket too.
            let place = good.rfind(change).unwrap();
            let (before, after) = good.split_at(place);
            let text = format!("{before}{to}{}", &after[change.len()..]);
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let error = parse(&format!("{good}{good}")).unwrap_err();
        assert!(matches!(error, TokenError::SameName { .. }), "{error}");
        let many: String = (0..=MAX_TOKENS)
            .map(|number| good.replace("\"a\"", &format!("\"a{number}\"")))
            .collect();
        assert!(matches!(parse(&many), Err(TokenError::TooMany { count: 101 })));
    }
}
