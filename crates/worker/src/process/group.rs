//! A program's process group, and how it is ended as a whole.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// The group that a program leads. Dropping it kills what is left of it.
#[derive(Debug)]
pub(super) struct Group {
    leader: Pid,
    /// The leader was waited for and the group killed: its number may belong to another one soon.
    reaped: AtomicBool,
}

impl Group {
    /// The group of the program with this process id, which was started as its leader.
    pub(super) fn of(process_id: u32) -> Option<Self> {
        // 0 and 1 would mean our own group and everything.
        let leader = i32::try_from(process_id).ok().filter(|id| *id > 1)?;
        Some(Self { leader: Pid::from_raw(leader), reaped: AtomicBool::new(false) })
    }

    /// The leader's process id, which is the group's number.
    pub(super) fn id(&self) -> i32 {
        self.leader.as_raw()
    }

    /// Asks all of them to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends all of them.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Says that the group is killed and its leader waited for: from now on it is not signalled any more.
    pub(super) fn reaped(&self) {
        self.reaped.store(true, Ordering::Relaxed);
    }

    fn signal(&self, signal: Signal) {
        if self.reaped.load(Ordering::Relaxed) {
            return;
        }
        match killpg(self.leader, signal) {
            // Nobody is left.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(group = self.id(), %signal, %error, "process group cannot be signalled"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
