//! What is noted and not written down yet: in the order in which it happened, but a delivery comes first. It lets
//! a key go, and the rows of the key that wait here to be parked behind it then need not be.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::Report;

/// A row under way has one note at most, so there are never more than rows may be under way.
#[derive(Debug)]
pub(super) struct ReportQueue {
    inbox: mpsc::Receiver<Report>,
    deliveries: VecDeque<Report>,
    others: VecDeque<Report>,
}

impl ReportQueue {
    pub(super) fn new(inbox: mpsc::Receiver<Report>) -> Self {
        Self {
            inbox,
            deliveries: VecDeque::new(),
            others: VecDeque::new(),
        }
    }

    /// Waits for the next one; none: there will be no more. Nothing is lost where nobody waits to the end.
    pub(super) async fn next(&mut self) -> Option<Report> {
        while let Ok(note) = self.inbox.try_recv() {
            match note {
                Report::Delivered(_) => self.deliveries.push_back(note),
                _ => self.others.push_back(note),
            }
        }
        let next = self.deliveries.pop_front();
        match next.or_else(|| self.others.pop_front()) {
            Some(note) => Some(note),
            None => self.inbox.recv().await,
        }
    }

    /// Takes no more, whether or not it did before.
    pub(super) fn close(&mut self) {
        self.inbox.close();
    }

    /// Whether it takes no more.
    pub(super) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}
