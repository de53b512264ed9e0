use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn restart(budget: u32) -> Policy {
    Policy::Restart {
        budget,
        window: Duration::from_secs(60),
        backoff: retry::Policy::default(),
    }
}

fn signals(count: usize) -> mpsc::Receiver<()> {
    let (sender, signals) = mpsc::channel(2);
    for _ in 0..count {
        sender.try_send(()).unwrap();
    }
    signals
}

/// Counts the starts of a task that fails in some way until its `healthy_from`-th start.
fn failing(
    supervisor: &Supervisor,
    policy: Policy,
    healthy_from: u32,
    fail: fn() -> Result<(), BoxError>,
) -> Arc<AtomicU32> {
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    supervisor
        .spawner
        .start("failing", Stage::Relay, policy, move |stop| {
            let start = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                if start < healthy_from {
                    return fail();
                }
                stop.cancelled().await;
                Ok(())
            }
        });
    starts
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_restarted() {
    let supervisor = Supervisor::new(DEADLINE);
    let starts = failing(&supervisor, restart(5), 3, || Err("no".into()));
    until(|| starts.load(Ordering::SeqCst) == 3).await;
    assert!(supervisor.run(signals(1)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_panicked_task_is_restarted() {
    let supervisor = Supervisor::new(DEADLINE);
    let starts = failing(&supervisor, restart(5), 2, || panic!("broken"));
    until(|| starts.load(Ordering::SeqCst) == 2).await;
    assert!(supervisor.run(signals(1)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_restart_budget_stops_the_process() {
    let supervisor = Supervisor::new(DEADLINE);
    let starts = failing(&supervisor, restart(2), u32::MAX, || Err("no".into()));
    let (_open, signals) = mpsc::channel(1);
    let outcome = supervisor.run(signals).await;
    assert_eq!(starts.load(Ordering::SeqCst), 3);
    assert_eq!(outcome.failures, ["failing failed after 2 restarts: no"]);
    assert!(!outcome.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_failed_essential_task_stops_the_process() {
    let supervisor = Supervisor::new(DEADLINE);
    failing(&supervisor, Policy::StopProcess, u32::MAX, || {
        panic!("gone")
    });
    let (_open, signals) = mpsc::channel(1);
    let outcome = supervisor.run(signals).await;
    assert_eq!(outcome.failures, ["failing failed: panicked: gone"]);
}

#[tokio::test(start_paused = true)]
async fn stages_drain_one_after_the_other() {
    let supervisor = Supervisor::new(DEADLINE);
    let order = Arc::new(Mutex::new(Vec::new()));
    for stage in Stage::ALL.into_iter().rev() {
        let order = Arc::clone(&order);
        supervisor
            .spawner
            .start("draining", stage, Policy::StopProcess, move |stop| {
                let order = Arc::clone(&order);
                async move {
                    stop.cancelled().await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    order.lock().unwrap().push(stage);
                    Ok(())
                }
            });
    }
    let outcome = supervisor.run(signals(1)).await;
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(*order.lock().unwrap(), Stage::ALL);
}

#[tokio::test(start_paused = true)]
async fn tasks_not_drained_by_the_deadline_are_aborted() {
    let supervisor = Supervisor::new(DEADLINE);
    supervisor
        .spawner
        .start("stuck", Stage::Writer, Policy::StopProcess, |_stop| {
            std::future::pending()
        });
    let began = Instant::now();
    let outcome = supervisor.run(signals(1)).await;
    assert_eq!(
        outcome.failures,
        ["the deadline passed while Writer was draining"]
    );
    assert_eq!(began.elapsed().as_secs(), DEADLINE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_aborts_at_once() {
    let supervisor = Supervisor::new(DEADLINE);
    supervisor
        .spawner()
        .detach("stuck", Stage::Http, std::future::pending());
    let began = Instant::now();
    let outcome = supervisor.run(signals(2)).await;
    assert_eq!(
        outcome.failures,
        ["a second signal arrived while Http was draining"]
    );
    assert!(began.elapsed() < DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn detached_work_is_awaited_and_its_panic_is_contained() {
    let supervisor = Supervisor::new(DEADLINE);
    let spawner = supervisor.spawner();
    let done = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&done);
    spawner.detach("broken", Stage::Admission, async { panic!("broken") });
    spawner.detach("slow", Stage::Admission, async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        counted.fetch_add(1, Ordering::SeqCst);
    });
    assert!(supervisor.run(signals(1)).await.is_clean());
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
