//! Calling a node.

use core::fmt;

/// A name and a password, as `Authorization: Basic` carries them. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct UserPassword {
    /// Without a colon.
    pub user: String,
    /// Any text.
    pub password: String,
}

impl fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserPassword({}:…)", self.user)
    }
}
