//! The engine driven by hand: a few of them with instant links, jobs run at once.
