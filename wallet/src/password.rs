//! Secrets from the user: a file, the environment, or a prompt on a terminal; never an argument.

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::cli::{ChangePasswordArguments, CostArguments, PassphraseArguments, PasswordArguments};

const PASSWORD_VARIABLE: &str = "ASHLAR_WALLET_PASSWORD";
const NEW_PASSWORD_VARIABLE: &str = "ASHLAR_WALLET_NEW_PASSWORD";
const PASSPHRASE_VARIABLE: &str = "ASHLAR_WALLET_PASSPHRASE";
/// Shorter passwords fall to guessing, however dear each guess is made.
const MIN_PASSWORD_CHARS: usize = 12;
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
    #[error("what was typed differs")]
    Differ,
    #[error("an empty password protects nothing")]
    Empty,
    #[error(
        "a password of fewer than {MIN_PASSWORD_CHARS} characters is soon guessed: take a longer one, or say --allow-short-password"
    )]
    Short,
}

/// The password of a wallet that exists.
pub(crate) fn existing(arguments: &PasswordArguments) -> Result<Zeroizing<String>, SecretError> {
    match given(arguments)? {
        Some(password) => Ok(password),
        None => prompt("password", "--password-file or ASHLAR_WALLET_PASSWORD"),
    }
}

/// A password for a new wallet; asked twice on a terminal.
pub(crate) fn new(
    arguments: &PasswordArguments,
    cost: &CostArguments,
) -> Result<Zeroizing<String>, SecretError> {
    fresh(given(arguments)?, "--password-file or ASHLAR_WALLET_PASSWORD", cost)
}

/// The password that replaces another.
pub(crate) fn changed(
    arguments: &ChangePasswordArguments,
) -> Result<Zeroizing<String>, SecretError> {
    let given = match &arguments.new_password_file {
        Some(path) => Some(first_line(path)?),
        None => env::var(NEW_PASSWORD_VARIABLE).ok().map(Zeroizing::new),
    };
    fresh(given, "--new-password-file or ASHLAR_WALLET_NEW_PASSWORD", &arguments.cost)
}

fn fresh(
    given: Option<Zeroizing<String>>,
    instead: &'static str,
    cost: &CostArguments,
) -> Result<Zeroizing<String>, SecretError> {
    let password = match given {
        Some(password) => password,
        None => twice("new password", "same password again", instead)?,
    };
    // A wallet of --light-kdf holds nothing of worth.
    let short_is_fine = cost.allow_short_password || cost.light_kdf;
    match password.chars().count() {
        0 => Err(SecretError::Empty),
        1..MIN_PASSWORD_CHARS if !short_is_fine => Err(SecretError::Short),
        _ => Ok(password),
    }
}

/// The passphrase of the words, where the user says that there is one; else empty.
pub(crate) fn passphrase(
    arguments: &PassphraseArguments,
) -> Result<Zeroizing<String>, SecretError> {
    match (&arguments.passphrase_file, env::var(PASSPHRASE_VARIABLE), arguments.passphrase) {
        (Some(path), ..) => first_line(path),
        (None, Ok(passphrase), true) => Ok(Zeroizing::new(passphrase)),
        // A typing error here would silently be another wallet.
        (None, Err(_), true) => twice(
            "passphrase",
            "same passphrase again",
            "--passphrase-file or ASHLAR_WALLET_PASSPHRASE",
        ),
        (None, _, false) => Ok(Zeroizing::default()),
    }
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

fn twice(
    what: &'static str,
    again: &'static str,
    instead: &'static str,
) -> Result<Zeroizing<String>, SecretError> {
    let first = prompt(what, instead)?;
    if *prompt(again, instead)? == *first { Ok(first) } else { Err(SecretError::Differ) }
}

fn prompt(what: &'static str, instead: &'static str) -> Result<Zeroizing<String>, SecretError> {
    if !io::stdin().is_terminal() {
        return Err(SecretError::NoTerminal { what, instead });
    }
    rpassword::prompt_password(format!("{what}: "))
        .map(Zeroizing::new)
        .map_err(|error| SecretError::Terminal { what, error })
}
