//! Several jobs at a time.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// Does the work for each item, for so many at a time (one at least, or nothing would be done and all seem well), and begins in their order.
pub(crate) fn each<T: Send>(at_once: usize, items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let waiting = Mutex::new(items.into_iter().collect::<VecDeque<_>>());
    let next = || waiting.lock().expect("no thread panics").pop_front();
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

/// As many as there are processors.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_work_done_once() {
        for at_once in [0, 1, 3] {
            let done = Mutex::new(Vec::new());
            each(at_once, 0..100, |number| done.lock().unwrap().push(number));
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert!(done.into_iter().eq(0..100));
        }
    }
}
