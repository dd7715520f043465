//! How many retries there may be in all, so that they cannot become a storm: when many replicas fail at once, each
//! failure would otherwise bring more requests to those that are left.

/// The time that is looked back on, in seconds.
const WINDOW: usize = 10;
/// One retry for so many requests.
const REQUESTS_PER_RETRY: u64 = 5;
/// Retries that are allowed however few requests there are.
const LEAST: u64 = 3;

/// The requests and retries of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Budget {
    seconds: [Second; WINDOW],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Counts a request. `now` is in seconds since any fixed time.
    pub(super) fn note_request(&mut self, now: u64) {
        if let Some(second) = self.second(now) {
            second.requests += 1;
        }
    }

    /// Takes a retry, if there is one left.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let recent = self.seconds.iter().filter(|second| now.saturating_sub(second.at) < WINDOW as u64);
        let (requests, retries) =
            recent.fold((0, 0), |(requests, retries), s| (requests + s.requests, retries + s.retries));
        if retries >= LEAST.max(requests / REQUESTS_PER_RETRY) {
            return false;
        }
        if let Some(second) = self.second(now) {
            second.retries += 1;
        }
        true
    }

    fn second(&mut self, now: u64) -> Option<&mut Second> {
        let second = self.seconds.get_mut(now as usize % WINDOW)?;
        if second.at != now {
            *second = Second { at: now, ..Second::default() };
        }
        Some(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &mut Budget, now: u64) -> usize {
        (0..1000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn a_few_are_always_allowed() {
        let mut budget = Budget::default();
        assert_eq!(left(&mut budget, 0), 3);
        assert_eq!(left(&mut budget, 9), 0);
        assert_eq!(left(&mut budget, 10), 3, "what was taken ten seconds ago no longer counts");
    }

    #[test]
    fn one_for_five_requests_of_the_last_ten_seconds() {
        let mut budget = Budget::default();
        for now in 100..110 {
            (0..10).for_each(|_| budget.note_request(now));
        }
        assert_eq!(left(&mut budget, 109), 20);
        (0..50).for_each(|_| budget.note_request(110));
        assert_eq!(left(&mut budget, 110), 8, "140 requests, 20 retries taken");
        assert_eq!(left(&mut budget, 121), 3);
    }
}
