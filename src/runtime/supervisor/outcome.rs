//! The outcome of a run, and the signals that end it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Spawner, Stage};

/// How a run ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The failures, in order; empty after a clean shutdown.
    pub failures: Vec<String>,
}

impl Outcome {
    pub(super) fn failed(&mut self, reason: String) {
        self.failures.push(reason);
    }

    /// Whether all tasks ended without a failure, in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.is_clean() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// The process's SIGTERM and SIGINT, one message each.
pub fn process_signals(spawner: &Spawner) -> std::io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, signals) = mpsc::channel(2);
    let stop = spawner.token(Stage::Background);
    spawner.detach("signals", Stage::Background, async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = terminate.recv() => {}
                Some(()) = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(signals)
}
