//! The faults of a request, field by field, up to the number that a response names. A small request may have thousands
//! of faults, with names as long as the request; its response, and the work for it, stay small.

use std::fmt::{self, Display, Write as _};

use super::problem::{FieldProblem, Problem};

/// Most faults that a response names.
pub const FAULTS_MAX: usize = 20;
/// Most characters of a field's name that a response repeats.
const NAME_CHARACTERS_MAX: usize = 64;

/// The faults of a request, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Faults {
    named: Vec<FieldProblem>,
    has_more: bool,
}

impl Faults {
    /// Adds a fault. Beyond the maximum it is only noted that there are more.
    pub fn add(&mut self, field: impl Display, problem: impl Into<String>) {
        if self.named.len() < FAULTS_MAX {
            let field = shortened(field);
            self.named.push(FieldProblem::new(field, problem));
        } else {
            self.has_more = true;
        }
    }

    /// Adds the faults of a part of the request.
    pub fn append(&mut self, part: Self) {
        let room = FAULTS_MAX - self.named.len();
        self.has_more |= part.has_more || part.named.len() > room;
        self.named.extend(part.named.into_iter().take(room));
    }

    /// Notes that there are more than the named ones.
    pub const fn add_unnamed(&mut self) {
        self.has_more = true;
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.named.is_empty() && !self.has_more
    }

    /// The problem of the faults; none: there are none.
    pub fn into_problem(self) -> Option<Problem> {
        if self.is_empty() {
            return None;
        }
        let mut problem = Problem::invalid(self.named);
        if self.has_more {
            let detail = problem.detail.to_mut();
            let more = write!(
                detail,
                " There are more faults than the {FAULTS_MAX} that are named."
            );
            debug_assert!(more.is_ok(), "writing to text does not fail");
        }
        Some(problem)
    }
}

/// A name as a response repeats it. Further characters are not even formatted.
pub fn shortened(name: impl Display) -> String {
    let mut short = Short::default();
    if write!(short, "{name}").is_err() {
        short.text.push('…');
    }
    short.text
}

/// Text of a bounded length; writing more fails.
#[derive(Default)]
struct Short {
    text: String,
    characters: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            if self.characters == NAME_CHARACTERS_MAX {
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.characters += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(count: usize) -> Faults {
        let mut faults = Faults::default();
        (0..count).for_each(|number| faults.add(format_args!("f{number}"), "is wrong"));
        faults
    }

    #[test]
    fn a_problem_names_a_bounded_number_of_faults_and_says_if_there_are_more() {
        let problem = |faults: Faults| faults.into_problem().unwrap();
        let all = problem(faults(FAULTS_MAX));
        assert_eq!(all.errors.len(), FAULTS_MAX);
        assert_eq!(all.detail, "f0: is wrong.");
        let more = problem(faults(FAULTS_MAX + 1));
        assert_eq!(more.errors, all.errors);
        let detail = "f0: is wrong. There are more faults than the 20 that are named.";
        assert_eq!(more.detail, detail);
        assert!(Faults::default().into_problem().is_none());
    }

    #[test]
    fn the_faults_of_a_part_count_with_those_of_the_whole() {
        for (of_whole, of_part, has_more) in [(19, 1, false), (19, 2, true), (0, 21, true)] {
            let mut whole = faults(of_whole);
            whole.append(faults(of_part));
            assert_eq!(whole.has_more, has_more, "{of_whole} and {of_part}");
            assert_eq!(whole.named.len(), FAULTS_MAX);
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = "ü".repeat(64);
        assert_eq!(shortened(&name), name);
        assert_eq!(shortened(format!("{name}x")), format!("{name}…"));
    }
}
