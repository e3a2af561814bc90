//! Where the programs are that a testnet is made of.

use std::{env, path::PathBuf};

use crate::error::TestnetError;

/// Environment variable that names the folder of the programs.
pub const BINARIES_VARIABLE: &str = "ASHLAR_BIN_DIR";

/// The programs, of one build.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `ashlar-node`.
    pub node: PathBuf,
    /// `ashlar-wallet`.
    pub wallet: PathBuf,
    /// `ashlar-testnet`.
    pub testnet: PathBuf,
}

impl Programs {
    /// Finds them: in `ASHLAR_BIN_DIR`, or where the running program is.
    ///
    /// # Errors
    /// The first that is not there, and what to do.
    pub fn find() -> Result<Self, TestnetError> {
        let find = |name: &str| match env::var_os(BINARIES_VARIABLE) {
            Some(folder) => {
                let path = PathBuf::from(folder).join(name);
                path.is_file().then_some(path).ok_or_else(|| TestnetError::NoProgram {
                    words: format!("{name} is not in the folder that {BINARIES_VARIABLE} names"),
                })
            }
            None => {
                ashlar_processes::binary(name).map_err(|words| TestnetError::NoProgram { words })
            }
        };
        Ok(Self {
            node: find("ashlar-node")?,
            wallet: find("ashlar-wallet")?,
            testnet: find("ashlar-testnet")?,
        })
    }
}
