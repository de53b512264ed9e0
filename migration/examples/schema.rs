//! Prints `docs/schema.md`.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(migration::diagram::page().as_bytes())
}
