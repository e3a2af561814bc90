//! Secrets from the user: a file, the environment, or a prompt on a terminal; never an argument.

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::cli::PasswordArguments;

const PASSWORD_VARIABLE: &str = "ASHLAR_WALLET_PASSWORD";
const MNEMONIC_VARIABLE: &str = "ASHLAR_WALLET_MNEMONIC";

/// Why there is no secret.
#[derive(Debug, Error)]
pub(crate) enum SecretError {
    #[error("no {what}: there is no terminal to ask on; use {instead}")]
    NoTerminal { what: &'static str, instead: &'static str },
    #[error("can't read {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("can't read the {what} from the terminal: {error}")]
    Terminal { what: &'static str, error: io::Error },
    #[error("the two passwords differ")]
    Differ,
    #[error("an empty password protects nothing")]
    Empty,
}

/// The password of a wallet that exists.
pub(crate) fn existing(arguments: &PasswordArguments) -> Result<Zeroizing<String>, SecretError> {
    match given(arguments)? {
        Some(password) => Ok(password),
        None => prompt("password", "--password-file or ASHLAR_WALLET_PASSWORD"),
    }
}

/// A password for a new wallet; asked twice on a terminal.
pub(crate) fn new(arguments: &PasswordArguments) -> Result<Zeroizing<String>, SecretError> {
    let password = match given(arguments)? {
        Some(password) => password,
        None => {
            let first = prompt("new password", "--password-file or ASHLAR_WALLET_PASSWORD")?;
            if *prompt("same password again", "--password-file")? != *first {
                return Err(SecretError::Differ);
            }
            first
        }
    };
    if password.is_empty() { Err(SecretError::Empty) } else { Ok(password) }
}

/// The words of a wallet to restore.
pub(crate) fn mnemonic(file: Option<&Path>) -> Result<Zeroizing<String>, SecretError> {
    if let Some(path) = file {
        return first_line(path);
    }
    match env::var(MNEMONIC_VARIABLE) {
        Ok(words) => Ok(Zeroizing::new(words)),
        Err(_) => prompt("words", "--mnemonic-file or ASHLAR_WALLET_MNEMONIC"),
    }
}

fn given(arguments: &PasswordArguments) -> Result<Option<Zeroizing<String>>, SecretError> {
    match &arguments.password_file {
        Some(path) => first_line(path).map(Some),
        None => Ok(env::var(PASSWORD_VARIABLE).ok().map(Zeroizing::new)),
    }
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let text = Zeroizing::new(
        fs::read_to_string(path)
            .map_err(|error| SecretError::Unreadable { path: path.to_owned(), error })?,
    );
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn prompt(what: &'static str, instead: &'static str) -> Result<Zeroizing<String>, SecretError> {
    if !io::stdin().is_terminal() {
        return Err(SecretError::NoTerminal { what, instead });
    }
    rpassword::prompt_password(format!("{what}: "))
        .map(Zeroizing::new)
        .map_err(|error| SecretError::Terminal { what, error })
}
