//! Whole lines to standard error, from any thread, without waiting for whoever reads them.
//!
//! Promise: lines never interleave, a line is written whole or not at all, and a reader that stalls costs lines
//! (counted in `doorward_log_lines_dropped_total`), never requests. Lines lie in one buffer that a background
//! thread swaps for an empty one every few milliseconds, so a line costs a copy, and many lines one system call.

use std::io::Write;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::metrics;

/// Bytes that may wait. At ten thousand lines a second it is two thirds of a second of a stalled reader.
const LIMIT: usize = 2 * 1024 * 1024;
/// How long lines are collected for one write.
const GATHER: Duration = Duration::from_millis(3);
/// Capacity worth keeping; what a burst needed beyond it is given back.
const KEEP: usize = 128 * 1024;

static WRITER: LazyLock<Writer> = LazyLock::new(|| Writer::start(Box::new(std::io::stderr()), LIMIT));

/// Queues a line, which ends in its newline.
pub(super) fn write(line: &[u8]) {
    if !WRITER.push(line) {
        metrics().log_lines_dropped.inc();
    }
}

/// Waits until every line queued so far is written, at most two seconds: before the process ends.
pub fn flush() {
    WRITER.flush(Duration::from_secs(2));
}

struct Writer {
    shared: Arc<Shared>,
    limit: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something is queued.
    queued: Condvar,
    /// Something was written.
    written: Condvar,
}

struct Queue {
    lines: Vec<u8>,
    /// Buffers handed to the sink and not yet written.
    in_hand: bool,
    /// The thread sleeps and has to be woken. While it gathers it need not be, which saves a system call a line.
    idle: bool,
}

impl Writer {
    fn start(sink: Box<dyn Write + Send>, limit: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { lines: Vec::new(), in_hand: false, idle: false }),
            queued: Condvar::new(),
            written: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || for_thread.run(sink));
        // Without its thread the queue fills and lines are counted as dropped: a gateway without logs still serves.
        let limit = if thread.is_ok() { limit } else { 0 };
        Writer { shared, limit }
    }

    /// Whether the line was taken.
    fn push(&self, line: &[u8]) -> bool {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > self.limit {
            return false;
        }
        queue.lines.extend_from_slice(line);
        if std::mem::take(&mut queue.idle) {
            self.shared.queued.notify_one();
        }
        true
    }

    fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut queue = self.shared.lock();
        while queue.in_hand || !queue.lines.is_empty() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            queue = self.shared.written.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    /// A thread that panicked while it held the lock can have left half a line at worst.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut sink: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() {
                queue.idle = true;
                queue = self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            drop(queue);
            std::thread::sleep(GATHER);
            let mut queue = self.lock();
            std::mem::swap(&mut queue.lines, &mut batch);
            queue.in_hand = true;
            drop(queue);
            // A closed standard error cannot be reported anywhere.
            let _ = sink.write_all(&batch).and_then(|()| sink.flush());
            batch.clear();
            batch.shrink_to(KEEP);
            self.lock().in_hand = false;
            self.written.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink {
        text: Arc<Mutex<Vec<u8>>>,
        stalled: Arc<Mutex<()>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _wait = self.stalled.lock();
            self.text.lock().expect("text").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_many_threads_do_not_interleave() {
        let sink = Sink::default();
        let writer = Writer::start(Box::new(sink.clone()), LIMIT);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let writer = &writer;
                scope.spawn(move || (0..1000).for_each(|n| assert!(writer.push(format!("{thread} {n}\n").as_bytes()))));
            }
        });
        writer.flush(Duration::from_secs(60));
        let text = String::from_utf8(sink.text.lock().expect("text").clone()).expect("UTF-8");
        assert_eq!(text.lines().count(), 4000);
        for thread in ["0 ", "1 ", "2 ", "3 "] {
            let numbers =
                text.lines().filter_map(|l| l.strip_prefix(thread)).map(|n| n.parse::<u32>().expect("number"));
            assert!(numbers.eq(0..1000), "lines of one thread are whole and in order");
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_nobody_waits() {
        let sink = Sink::default();
        let writer = Writer::start(Box::new(sink.clone()), 64);
        let stall = sink.stalled.lock();
        let taken = (0..100).filter(|_| writer.push(b"sixteen bytes..\n")).count();
        assert!((4..=8).contains(&taken), "{taken} lines were taken");
        writer.flush(Duration::from_millis(20));
        drop(stall);
        writer.flush(Duration::from_secs(60));
        assert_eq!(sink.text.lock().expect("text").len(), taken * 16);
    }
}
