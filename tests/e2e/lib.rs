//! Empty: the tests are in `main.rs`, on the real binaries.
