//! When and where to connect, and which connection is the active one. No I/O, no clock, no chance of its own.
//!
//! A client has one lane, or two with a standby. Each is waiting, connecting or open. Calls go by the active lane; when
//! that is lost, another open one takes over at once, and the lost one is connected again after a wait that doubles with
//! every failure in a row.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that lasted so long makes the next wait a short one again.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Doublings after which a wait does not grow any more, whatever its bound.
const DOUBLINGS_MAX: u32 = 20;

/// How long to wait between two attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    /// After the first failure.
    pub(super) min: Duration,
    /// At most.
    pub(super) max: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row, from half of it to all of it by `chance` (0 to 1): clients that lost a
    /// server together do not come back together.
    fn wait(self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let longest = self.min.saturating_mul(1 << doublings).min(self.max);
        longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Number of a lane.
pub(super) type LaneId = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Connecting,
    Open { since: Instant },
}

#[derive(Debug)]
struct Lane {
    state: State,
    endpoint: usize,
    failures: u32,
    /// The session to go on with.
    session: Option<String>,
}

/// A connection to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// For this lane.
    pub(super) lane: LaneId,
    /// To this of the endpoints.
    pub(super) endpoint: usize,
    /// Going on with this session.
    pub(super) resume: Option<String>,
}

/// What a new connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    /// The server went on with the session that was asked for.
    pub(super) is_resumed: bool,
    /// Calls go by this connection from now on.
    pub(super) is_active: bool,
}

/// All lanes of a client.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    active: Option<LaneId>,
    endpoints: usize,
    backoff: Backoff,
}

impl Lanes {
    /// So many lanes to so many endpoints, the first lane to the first endpoint, all to be connected now.
    pub(super) fn new(lanes: usize, endpoints: usize, backoff: Backoff, now: Instant) -> Self {
        let endpoints = endpoints.max(1);
        let lane = |number| Lane {
            state: State::Waiting { until: now },
            endpoint: number % endpoints,
            failures: 0,
            session: None,
        };
        Self { lanes: (0..lanes.max(1)).map(lane).collect(), active: None, endpoints, backoff }
    }

    /// The lane by which calls go.
    pub(super) fn active(&self) -> Option<LaneId> {
        self.active
    }

    /// When the next attempt is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let until = |lane: &Lane| match lane.state {
            State::Waiting { until } => Some(until),
            State::Connecting | State::Open { .. } => None,
        };
        self.lanes.iter().filter_map(until).min()
    }

    /// An attempt that is due, which begins now.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Attempt> {
        let is_due = |lane: &Lane| matches!(lane.state, State::Waiting { until } if until <= now);
        let number = self.lanes.iter().position(is_due)?;
        let lane = &mut self.lanes[number];
        lane.state = State::Connecting;
        Some(Attempt { lane: number, endpoint: lane.endpoint, resume: lane.session.clone() })
    }

    /// An attempt succeeded, and the server named the session.
    pub(super) fn opened(&mut self, number: LaneId, session: &str, now: Instant) -> Opened {
        let lane = &mut self.lanes[number];
        let is_resumed = lane.session.as_deref() == Some(session);
        lane.state = State::Open { since: now };
        lane.session = Some(session.to_owned()).filter(|session| !session.is_empty());
        let is_active = *self.active.get_or_insert(number) == number;
        Opened { is_resumed, is_active }
    }

    /// An attempt failed: the next one goes to the next endpoint, after a wait.
    pub(super) fn failed(&mut self, number: LaneId, now: Instant, chance: f64) -> Duration {
        self.lanes[number].endpoint = self.next_endpoint(number);
        self.wait(number, now, chance)
    }

    /// The endpoint after that of a lane, but for those that other lanes are at: two connections to one server die together.
    fn next_endpoint(&self, number: LaneId) -> usize {
        let after = |step| (self.lanes[number].endpoint + step) % self.endpoints;
        let is_free = |endpoint: &usize| {
            self.lanes.iter().enumerate().all(|(other, lane)| other == number || lane.endpoint != *endpoint)
        };
        (1..=self.endpoints).map(after).find(is_free).unwrap_or_else(|| after(1))
    }

    /// A connection broke. Gives the lane that takes over, if this was the active one and another is open.
    pub(super) fn lost(&mut self, number: LaneId, now: Instant, chance: f64) -> Option<LaneId> {
        if matches!(self.lanes[number].state, State::Open { since } if now >= since + STABLE_AFTER) {
            self.lanes[number].failures = 0;
        }
        self.wait(number, now, chance);
        if self.active != Some(number) {
            return None;
        }
        self.active = self.lanes.iter().position(|lane| matches!(lane.state, State::Open { .. }));
        self.active
    }

    /// The server asked to leave: what is under way ends on the old connection, and a new session is opened elsewhere.
    /// Gives the lane that takes over, as [`Self::lost`].
    pub(super) fn left(&mut self, number: LaneId, now: Instant, chance: f64) -> Option<LaneId> {
        self.lanes[number].session = None;
        self.lanes[number].endpoint = self.next_endpoint(number);
        self.lost(number, now, chance)
    }

    /// Forgets the session of a lane: nothing of it is awaited any more.
    pub(super) fn forget(&mut self, number: LaneId) {
        self.lanes[number].session = None;
    }

    fn wait(&mut self, number: LaneId, now: Instant, chance: f64) -> Duration {
        let lane = &mut self.lanes[number];
        lane.failures = lane.failures.saturating_add(1);
        let wait = self.backoff.wait(lane.failures, chance);
        lane.state = State::Waiting { until: now + wait };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };

    fn attempt(lane: LaneId, endpoint: usize, resume: Option<&str>) -> Attempt {
        Attempt { lane, endpoint, resume: resume.map(str::to_owned) }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_their_bound_and_go_around_the_endpoints() {
        let mut lanes = Lanes::new(1, 2, BACKOFF, Instant::now());
        for (endpoint, millis) in [(0, 100), (1, 200), (0, 400), (1, 800), (0, 1000), (1, 1000)] {
            assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, endpoint, None)));
            assert_eq!((lanes.begin(Instant::now()), lanes.next_due()), (None, None));
            assert_eq!(lanes.failed(0, Instant::now(), 1.0), Duration::from_millis(millis));
            assert_eq!(lanes.begin(Instant::now()), None);
            tokio::time::advance(Duration::from_millis(millis)).await;
            assert_eq!(lanes.next_due(), Some(Instant::now()));
        }
    }

    #[test]
    fn a_wait_is_spread_over_its_second_half() {
        for (chance, millis) in [(0.0, 50), (0.5, 75), (1.0, 100)] {
            assert_eq!(BACKOFF.wait(1, chance), Duration::from_millis(millis));
        }
        assert_eq!(BACKOFF.wait(u32::MAX, 1.0), BACKOFF.max);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_resumed_at_the_endpoint_that_has_it() {
        let mut lanes = Lanes::new(1, 2, BACKOFF, Instant::now());
        lanes.begin(Instant::now()).unwrap();
        assert_eq!(lanes.opened(0, "s", Instant::now()), Opened { is_resumed: false, is_active: true });
        assert_eq!(lanes.lost(0, Instant::now(), 1.0), None);
        assert_eq!(lanes.active(), None);
        tokio::time::advance(BACKOFF.min).await;
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, 0, Some("s"))));
        assert_eq!(lanes.opened(0, "s", Instant::now()), Opened { is_resumed: true, is_active: true });
        lanes.lost(0, Instant::now(), 1.0);
        lanes.forget(0);
        tokio::time::advance(BACKOFF.max).await;
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, 0, None)));
        assert_eq!(lanes.opened(0, "t", Instant::now()), Opened { is_resumed: false, is_active: true });
    }

    #[tokio::test(start_paused = true)]
    async fn the_standby_takes_over_at_once_and_the_other_becomes_the_standby() {
        let mut lanes = Lanes::new(2, 2, BACKOFF, Instant::now());
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, 0, None)));
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(1, 1, None)));
        assert!(lanes.opened(1, "b", Instant::now()).is_active, "whichever is first");
        assert!(!lanes.opened(0, "a", Instant::now()).is_active);
        assert_eq!(lanes.lost(1, Instant::now(), 1.0), Some(0));
        tokio::time::advance(BACKOFF.min).await;
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(1, 1, Some("b"))));
        assert_eq!(lanes.opened(1, "b", Instant::now()), Opened { is_resumed: true, is_active: false });
        assert_eq!(lanes.lost(1, Instant::now(), 1.0), None, "the standby's loss changes nothing");
        assert_eq!(lanes.active(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_standby_is_never_where_the_active_connection_is_while_there_is_elsewhere() {
        for (endpoints, tried) in [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 2, 0])] {
            let mut lanes = Lanes::new(2, endpoints, BACKOFF, Instant::now());
            while lanes.begin(Instant::now()).is_some() {}
            lanes.opened(0, "a", Instant::now());
            lanes.opened(1, "b", Instant::now());
            assert_eq!(lanes.lost(0, Instant::now(), 1.0), Some(1));
            lanes.forget(0);
            for endpoint in tried {
                tokio::time::advance(BACKOFF.max).await;
                assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, endpoint, None)), "of {endpoints}");
                lanes.failed(0, Instant::now(), 1.0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_lasted_makes_the_wait_short_again() {
        let mut lanes = Lanes::new(1, 1, BACKOFF, Instant::now());
        for _ in 0..3 {
            tokio::time::advance(BACKOFF.max).await;
            lanes.begin(Instant::now()).unwrap();
            lanes.opened(0, "s", Instant::now());
            lanes.lost(0, Instant::now(), 1.0);
        }
        assert_eq!(lanes.next_due(), Some(Instant::now() + BACKOFF.min * 4));
        tokio::time::advance(BACKOFF.max).await;
        lanes.begin(Instant::now()).unwrap();
        lanes.opened(0, "s", Instant::now());
        tokio::time::advance(STABLE_AFTER).await;
        lanes.lost(0, Instant::now(), 1.0);
        assert_eq!(lanes.next_due(), Some(Instant::now() + BACKOFF.min));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_sends_us_away_is_left_for_the_next_endpoint() {
        let mut lanes = Lanes::new(1, 2, BACKOFF, Instant::now());
        lanes.begin(Instant::now()).unwrap();
        lanes.opened(0, "s", Instant::now());
        assert_eq!(lanes.left(0, Instant::now(), 0.0), None);
        tokio::time::advance(BACKOFF.min).await;
        assert_eq!(lanes.begin(Instant::now()), Some(attempt(0, 1, None)));
    }
}
