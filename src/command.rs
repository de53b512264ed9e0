//! The commands: wiring only. Each opens the parts it needs and leaves the work to the modules.

pub mod accounts;
mod aggregation;
mod ahead;
pub mod asyncapi;
mod authentication;
mod background;
pub mod config;
pub mod confirmation;
pub mod consume;
mod data_folder;
pub mod dead_letters;
pub mod doctor;
mod edge;
mod first_start;
pub mod migrate;
mod monitors;
pub mod openapi;
mod outbox;
pub mod outbox_records;
mod parts;
mod payments;
mod probes;
mod process;
pub mod relay;
mod republish;
pub mod restored;
mod rewards;
pub mod serve;
pub mod verify;

use std::io::Write;

use anyhow::Context;
use tokio::runtime::{Builder, Handle};

use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// Serves on a listener. A failure stops the process, because only a new process can bind the address again.
fn serve_once<F>(spawner: &Spawner, task: &'static str, serving: F)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let mut serving = Some(serving);
    spawner.start(task, Stage::Http, Policy::StopProcess, move |_stop| {
        let serving = serving.take();
        async move {
            match serving {
                Some(serving) => Ok(serving.await?),
                None => Err(BoxError::from("the listener is already used")),
            }
        }
    });
}

/// A runtime with its own threads, so that its tasks do not wait for others.
fn threads(name: &str, count: usize) -> anyhow::Result<Handle> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .enable_all()
        .build()
        .with_context(|| format!("cannot start threads for {name}"))?;
    let handle = runtime.handle().clone();
    // It lives as long as the process: the supervisor awaits its tasks.
    std::mem::forget(runtime);
    Ok(handle)
}

/// Prints to standard output. A closed pipe is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
