//! Work beside the requests: what is done again and again, and what several who wait share.
//!
//! Promise: nothing here is asked for more often than its pauses allow, replicas that started together drift apart,
//! and all of it ends when the gateway stops.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::Instant;

/// The pause after a first failure; each further one doubles it.
pub const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How soon a host that slept finds out.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// When the next turn of what is done again and again is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is under way.
    Now,
    At(SystemTime),
}

/// What is done again and again, and can say when its next turn is.
#[derive(Debug, Default)]
pub struct Turns(ArcSwapOption<Next>);

impl Turns {
    /// `None` before anything of it was begun.
    pub fn next(&self) -> Option<Next> {
        self.0.load().as_deref().copied()
    }

    fn set(&self, next: Next) {
        self.0.store(Some(Arc::new(next)));
    }

    /// Does `work` until `shutdown` turns true or its sender is gone: in `first`, again after the pause that it returns, and
    /// after growing ones while it returns `None`. It is told the pause that would follow a failure, for its log line.
    pub async fn repeat<F, W>(&self, first: Duration, mut shutdown: watch::Receiver<bool>, mut work: F)
    where
        F: FnMut(Duration) -> W,
        W: Future<Output = Option<Duration>>,
    {
        let (mut retry, mut wait) = (FIRST_RETRY, first);
        loop {
            self.set(Next::At(SystemTime::now() + wait));
            tokio::select! {
                () = pause(wait) => {}
                _ = stopped(&mut shutdown) => return,
            }
            self.set(Next::Now);
            let done = tokio::select! {
                done = work(retry) => done,
                _ = stopped(&mut shutdown) => return,
            };
            wait = jittered(done.unwrap_or(retry));
            retry = if done.is_some() { FIRST_RETRY } else { (retry * 2).min(LONGEST_RETRY) };
        }
    }
}

/// [`Turns::repeat`], where nobody asks for the next turn.
pub async fn repeat<F, W>(first: Duration, shutdown: watch::Receiver<bool>, work: F)
where
    F: FnMut(Duration) -> W,
    W: Future<Output = Option<Duration>>,
{
    Turns::default().repeat(first, shutdown, work).await;
}

/// Waits by the steady clock or by the calendar, whichever is over first: the steady one stands still while a host
/// sleeps, and what was fetched grows old all the same.
async fn pause(wait: Duration) {
    let (start, date) = (Instant::now(), SystemTime::now());
    loop {
        let elapsed = start.elapsed().max(date.elapsed().unwrap_or_default());
        let Some(left) = wait.checked_sub(elapsed).filter(|left| !left.is_zero()) else { return };
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// Returns when `shutdown` is true, or can never become so.
pub async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Up to a fifth more or less, so that replicas which started together do not ask together.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [128u8];
    // Without randomness the wait is what it is.
    let _ = SystemRandom::new().fill(&mut byte);
    wait.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}

/// The result of work that goes on even where all who wait for it have gone away: a client that hangs up must not
/// be able to end what others wait for.
#[derive(Clone, Debug)]
pub struct Awaited<T>(watch::Receiver<Option<T>>);

impl<T: Clone + Send + Sync + 'static> Awaited<T> {
    /// Starts `work`.
    pub fn start(work: impl Future<Output = T> + Send + 'static) -> Awaited<T> {
        let (done, result) = watch::channel(None);
        tokio::spawn(async move { done.send_replace(Some(work.await)) });
        Awaited(result)
    }

    /// Whether the work has ended.
    pub fn is_over(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// What it came to; `None` where the gateway stops meanwhile.
    pub async fn result(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_with_growing_pauses_and_success_at_its_own_pace() {
        let (stop, stopping) = watch::channel(false);
        let told = Mutex::new(Vec::new());
        repeat(Duration::ZERO, stopping, |retry| {
            let mut told = told.lock().expect("not poisoned");
            told.push(retry.as_millis());
            let turn = told.len();
            if turn == 11 {
                stop.send_replace(true);
            }
            async move { (turn == 9).then_some(Duration::from_secs(3600)) }
        })
        .await;
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 500, 1000];
        assert_eq!(*told.lock().expect("not poisoned"), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fresh_is_not_asked_for_before_its_time() {
        let (began, hour) = (Instant::now(), Duration::from_secs(3600));
        let (stop, stopping) = watch::channel(false);
        repeat(hour, stopping, |_| {
            stop.send_replace(true);
            async { None }
        })
        .await;
        assert!(began.elapsed() >= hour, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_turn_is_told_whatever_became_of_the_one_before() {
        let (stop, stopping) = watch::channel(false);
        let turns = Turns::default();
        assert_eq!(turns.next(), None);
        let (began, seen) = (SystemTime::now(), Mutex::new(Vec::new()));
        let doing = turns.repeat(Duration::ZERO, stopping, |_| async {
            let mut seen = seen.lock().expect("not poisoned");
            seen.push(turns.next());
            (seen.len() == 2).then_some(Duration::from_secs(3600))
        });
        let watching = async {
            for (done, least, most) in [(1, 0, 600), (2, 2800, 4400)] {
                while seen.lock().expect("not poisoned").len() < done {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let Some(Next::At(next)) = turns.next() else { panic!("{:?}", turns.next()) };
                let ahead = next.duration_since(began).expect("ahead").as_secs();
                assert!((least..=most).contains(&ahead), "{ahead} s ahead after turn {done}");
            }
            stop.send_replace(true);
        };
        tokio::join!(doing, watching);
        assert_eq!(*seen.lock().expect("not poisoned"), [Some(Next::Now), Some(Next::Now)]);
    }

    #[test]
    fn a_wait_is_jittered_by_a_fifth_at_most() {
        for _ in 0..200 {
            let wait = jittered(Duration::from_secs(10)).as_secs_f64();
            assert!((7.99..=12.01).contains(&wait), "{wait}");
        }
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_and_all_who_wait_get_its_result() {
        static DONE: AtomicUsize = AtomicUsize::new(0);
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let work = Awaited::start(async move {
            let _ = gate.await;
            DONE.fetch_add(1, SeqCst) + 1
        });
        let gone = tokio::spawn(work.clone().result());
        gone.abort();
        assert!(!work.is_over());
        go.send(()).expect("waiting");
        assert_eq!((work.clone().result().await, work.clone().result().await), (Some(1), Some(1)));
        assert!(work.is_over());
    }
}
