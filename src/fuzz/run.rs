//! The short run: the whole corpus, and inputs made from it by chance, the same in each run. With
//! `FIRSTCOME_FUZZ_SECONDS` others in each run, for so long.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{TARGETS, Target};

/// Inputs that are made for each target.
const ROUNDS: u32 = 1_000;
/// Longest input that is made.
const BYTES_MAX: usize = 4 * 1024;
/// Pieces that mean something to one of the readers.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b";",
    b"=",
    b"%31",
    b"%",
    b"+1",
    b"-1",
    b"0",
    b"9007199254740992",
    b"18446744073709551616",
    b"null",
    b"\xff",
    b"\0",
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files: Vec<_> = fs::read_dir(folder.join(name))
        .unwrap_or_else(|error| panic!("fuzz/corpus/{name}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// An input like one of the corpus.
fn mutated(corpus: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let mut input = corpus.choose(chance).unwrap().clone();
    for _ in 0..chance.random_range(1..=8) {
        let at = chance.random_range(0..=input.len());
        let end = chance.random_range(at..=input.len().min(at + 16));
        match chance.random_range(0..6) {
            0 => input.insert(at, chance.random()),
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..at, WORDS.choose(chance).unwrap().iter().copied())),
            3 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            4 => {
                let other = corpus.choose(chance).unwrap();
                let from = chance.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ if at < input.len() => input[at] ^= 1 << chance.random_range(0..8),
            _ => {}
        }
    }
    input.truncate(BYTES_MAX);
    input
}

fn run(name: &str, target: Target) {
    let corpus = corpus(name);
    let check = |input: &[u8]| {
        let outcome = std::panic::catch_unwind(|| target(input));
        assert!(
            outcome.is_ok(),
            "{name}: {}: keep it in fuzz/corpus/{name}",
            input.escape_ascii()
        );
    };
    for input in &corpus {
        check(input);
    }
    #[allow(clippy::disallowed_methods, reason = "a test has no configuration")]
    let seconds = std::env::var("FIRSTCOME_FUZZ_SECONDS").ok();
    let seconds: Option<u64> = seconds.map(|seconds| seconds.parse().unwrap());
    let mut chance = match seconds {
        None => StdRng::seed_from_u64(7),
        Some(_) => StdRng::seed_from_u64(rand::random()),
    };
    let (began, patience) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
    let mut rounds = 0;
    while rounds < ROUNDS || began.elapsed() < patience {
        check(&mutated(&corpus, &mut chance));
        rounds += 1;
    }
    println!("{name}: {rounds} inputs in {:?}", began.elapsed());
}

/// `make fuzz` runs what `fuzz/Cargo.toml` names.
#[test]
fn the_package_of_libfuzzer_has_a_binary_for_each_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let named = |line: &str| {
        Some(
            line.strip_prefix("name = \"")?
                .strip_suffix('"')?
                .to_owned(),
        )
    };
    let binaries = manifest.split("[[bin]]").skip(1);
    let binaries: Vec<String> = binaries
        .filter_map(|one| one.lines().find_map(named))
        .collect();
    assert_eq!(binaries, TARGETS.map(|(name, _)| name));
    let mut seeds: Vec<String> = fs::read_dir(folder.join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    seeds.sort();
    assert_eq!(seeds, binaries);
}

#[test]
fn any_input_is_parsed_or_rejected() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || run(name, target));
        }
    });
}
