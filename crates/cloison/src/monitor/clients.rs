//! Who is connected to the monitor, and what each still has to get.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionbio, retry_on_intr};
use rustix::net::{SocketFlags, accept_with};

use super::protocol::{Answer, put};

/// How long a client may take nothing before it is dropped, so that the container goes on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How many there may be at once.
const LIMIT: usize = 64;

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    kind: Kind,
    /// It has still to get the piece of output, or the exit code, that is under way.
    owed: bool,
    /// Since when its queue has been full.
    behind: Option<Instant>,
    /// It has hung up, and what it sent before is still to be read.
    pub(super) hung_up: bool,
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It has said nothing yet, or wants something done once.
    New,
    /// It gets the output, and whether its input may still come.
    Attached { input: bool },
    /// It gets the exit code.
    Waiting,
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Peer {
    pub(super) fn attach(&mut self, input: bool) {
        self.kind = Kind::Attached { input };
    }

    pub(super) fn wait(&mut self) {
        self.kind = Kind::Waiting;
    }

    pub(super) fn end_input(&mut self) {
        if let Kind::Attached { input } = &mut self.kind {
            *input = false;
        }
    }

    pub(super) fn may_send_input(&self) -> bool {
        self.kind == Kind::Attached { input: true }
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.kind, Kind::Attached { .. })
    }

    pub(super) fn drop_it(&mut self) {
        self.gone = true;
    }

    pub(super) fn owes(&self) -> bool {
        self.owed
    }

    /// An answer to what it asked. Who does not take even that is dropped.
    pub(super) fn answer(&mut self, answer: Answer<'_>) {
        if let Err(errno) = put(self.socket.as_fd(), &answer.short_packet()) {
            log::debug!("a client does not take its answer: {errno}");
            self.gone = true;
        }
    }

    fn give(&mut self, packet: &[u8], now: Instant, patience: Duration) {
        match put(self.socket.as_fd(), packet) {
            Ok(()) => (self.owed, self.behind) = (false, None),
            Err(Errno::AGAIN | Errno::NOBUFS) => {
                let since = *self.behind.get_or_insert(now);
                if now.saturating_duration_since(since) >= patience {
                    log::warn!("dropped a client that read nothing for {} s", patience.as_secs());
                    self.gone = true;
                }
            }
            Err(errno) => {
                log::debug!("a client has gone: {errno}");
                self.gone = true;
            }
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) all: Vec<Peer>,
}

impl Clients {
    /// Lets in whoever waits at the door. Whoever is one too many is sent away.
    pub(super) fn let_in(&mut self, listener: BorrowedFd<'_>) {
        let socket = match retry_on_intr(|| accept_with(listener, SocketFlags::CLOEXEC)) {
            Ok(socket) => socket,
            Err(errno) => return log::debug!("a client was not let in: {errno}"),
        };
        if self.all.len() >= LIMIT {
            return log::warn!("a client was sent away: there are {LIMIT}");
        }
        match ioctl_fionbio(&socket, true) {
            Ok(()) => self.all.push(Peer {
                socket,
                kind: Kind::New,
                owed: false,
                behind: None,
                hung_up: false,
                gone: false,
            }),
            Err(errno) => log::debug!("a client was not let in: {errno}"),
        }
    }

    /// A new piece of output is under way to all who are attached.
    pub(super) fn owe_output(&mut self) {
        for peer in &mut self.all {
            peer.owed = peer.is_attached();
        }
    }

    /// The exit code is under way to all who have asked for anything that lasts.
    pub(super) fn owe_code(&mut self) {
        for peer in &mut self.all {
            peer.owed = peer.kind != Kind::New;
        }
    }

    /// Gives what is under way to those who still have to get it. Who gets nothing down for too long is dropped.
    pub(super) fn give(&mut self, packet: &[u8], patience: Duration) {
        let now = Instant::now();
        for peer in self.all.iter_mut().filter(|peer| peer.owed) {
            peer.give(packet, now, patience);
        }
        self.forget();
    }

    /// Lets go of those that have gone.
    pub(super) fn forget(&mut self) {
        self.all.retain(|peer| !peer.gone);
    }

    /// Everybody has what was under way.
    pub(super) fn all_have_it(&self) -> bool {
        self.all.iter().all(|peer| !peer.owed)
    }

    /// When the next one will have been behind for too long.
    pub(super) fn next_deadline(&self, patience: Duration) -> Option<Instant> {
        self.all.iter().filter_map(|peer| peer.behind).min().and_then(|since| since.checked_add(patience))
    }

    /// Somebody may still send input.
    pub(super) fn have_input(&self) -> bool {
        self.all.iter().any(Peer::may_send_input)
    }
}
