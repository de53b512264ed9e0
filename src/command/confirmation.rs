//! Asks for confirmation of irreversible actions. It must not decide which actions need one.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;

/// Whether confirmation is given on the command line.
#[derive(Args, Clone, Copy, Debug)]
pub struct Confirmation {
    /// Skip the confirmation; required without a terminal.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Fails unless the question is answered with yes, on the terminal or by `--yes`.
    pub(super) fn ask(self, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        let input = std::io::stdin();
        if !input.is_terminal() {
            bail!("{question} No terminal to ask on: nothing was changed (use --yes)");
        }
        if is_yes(question, &mut input.lock(), &mut std::io::stderr())? {
            return Ok(());
        }
        bail!("nothing was changed");
    }
}

/// Whether the answer is `y` or `yes`.
fn is_yes(
    question: &str,
    answer: &mut impl BufRead,
    screen: &mut impl Write,
) -> anyhow::Result<bool> {
    write!(screen, "{question} [y/N] ")?;
    screen.flush()?;
    let mut line = String::new();
    answer
        .read_line(&mut line)
        .context("cannot read the answer")?;
    let word = line.trim().to_ascii_lowercase();
    Ok(word == "y" || word == "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_the_exact_word_yes_confirms() {
        let confirms = |answer: &str| {
            let mut screen = Vec::new();
            let yes = is_yes("Discard 3?", &mut answer.as_bytes(), &mut screen).unwrap();
            assert_eq!(screen, b"Discard 3? [y/N] ");
            yes
        };
        assert!(confirms("y\n") && confirms("YES\r\n") && confirms(" yes"));
        for no in ["", "\n", "n\n", "yess\n", "discard\n"] {
            assert!(!confirms(no), "{no:?}");
        }
    }
}
