//! What a connection waits for, as shown by what is read and written. It does not know what the bytes mean.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// What a connection waits for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first byte of the first request.
    New,
    /// The rest of a request head.
    ReadingHead,
    /// The service: the head has arrived.
    Serving,
    /// The first byte of the next request.
    Idle,
}

/// One consistent read of a [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) write_blocked: bool,
    changes: u32,
}

/// The progress of one connection. Only the task of the connection writes to it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    phase: AtomicU8,
    /// The client does not read what is written to it.
    write_blocked: AtomicBool,
    /// Tells two periods in the same phase apart.
    changes: AtomicU32,
    /// The last read found nothing.
    read_pending: AtomicBool,
    /// A response is not flushed.
    response_pending: AtomicBool,
    /// The end of the request body has not arrived.
    body_pending: AtomicBool,
    /// The connection is being closed.
    closing: AtomicBool,
}

impl Progress {
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: self.phase(),
            write_blocked: self.write_blocked.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::New,
            1 => Phase::ReadingHead,
            2 => Phase::Serving,
            _ => Phase::Idle,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the next byte begins a request: every request has its response, and no byte waits to be read or
    /// sent. Where a response preceded the end of its request body, only the protocol knows what the next bytes
    /// belong to.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase(), Phase::New | Phase::Idle)
            && self.read_pending.load(Ordering::Relaxed)
            && !self.response_pending.load(Ordering::Relaxed)
            && !self.body_pending()
            && !self.closing.load(Ordering::Relaxed)
    }

    /// Records a read. Outside a request, bytes begin a head.
    pub(crate) fn record_read(&self, has_bytes: bool, is_pending: bool) {
        self.read_pending.store(is_pending, Ordering::Relaxed);
        if has_bytes && matches!(self.phase(), Phase::New | Phase::Idle) {
            self.enter(Phase::ReadingHead);
        }
    }

    /// Records a write or a flush.
    pub(crate) fn record_write(&self, is_blocked: bool) {
        if is_blocked != self.write_blocked.swap(is_blocked, Ordering::Relaxed) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn record_response_flushed(&self) {
        self.response_pending.store(false, Ordering::Relaxed);
    }

    pub(crate) fn record_response_end(&self) {
        self.response_pending.store(true, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    pub(crate) fn record_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_body_pending(&self, is_pending: bool) {
        self.body_pending.store(is_pending, Ordering::Relaxed);
    }

    pub(crate) fn body_pending(&self) -> bool {
        self.body_pending.load(Ordering::Relaxed)
    }
}
