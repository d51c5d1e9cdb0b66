//! One that answers the calls that a seccomp filter tells of.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use cloison_linux::seccomp::{Answer, Notification, receive, respond};
use cloison_linux::socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::patience::patient;

/// An agent that listens on a socket.
pub struct Agent {
    path: PathBuf,
    told: Receiver<Value>,
    thread: JoinHandle<()>,
}

/// How long an agent waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

impl Agent {
    /// Listens at a path, for as many containers or programs in them; `answer` says what becomes of each call.
    pub fn new(path: &Path, listeners: usize, answer: fn(&Notification) -> Answer) -> Self {
        let server = crate::receiver::listen(path);
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for _ in 0..listeners {
                if !comes(server.as_fd()) {
                    break;
                }
                let (stream, _) = server.accept().expect("a connection");
                let message = socket::receive(stream.as_fd()).expect("a message");
                let state = serde_json::from_slice(&message.bytes).expect("the message is JSON");
                let listener = message.fd.expect("a descriptor comes with it");
                // One state for a connection, which is then closed (config-linux.md, "Seccomp").
                assert!(comes(stream.as_fd()), "the connection is closed");
                let more = socket::receive(stream.as_fd()).expect("the end of the connection");
                assert!(more.bytes.is_empty(), "nothing else is sent");
                serving.push(std::thread::spawn(move || serve(&listener, answer)));
                // Whoever made the agent may have gone.
                let _ = tell.send(state);
            }
            drop(server);
            for thread in serving {
                thread.join().expect("the agent does not panic");
            }
        });
        Self { path: path.to_owned(), told, thread }
    }

    /// The path of its socket.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("test paths are UTF-8")
    }

    /// What it was told of the next container or program.
    pub fn told(&self) -> Value {
        self.told.recv_timeout(patient(PATIENCE)).expect("a listener was handed over")
    }

    /// Waits until nobody is left who could make a call.
    pub fn finish(self) {
        self.thread.join().expect("the agent does not panic");
    }
}

fn serve(listener: &OwnedFd, answer: fn(&Notification) -> Answer) {
    while comes(listener.as_fd()) {
        let Ok(call) = receive(listener.as_fd()) else { continue };
        // The one who made it may have been killed.
        let _ = respond(listener.as_fd(), call.id, answer(&call));
    }
}

/// Whether something comes; not where all that could has gone.
fn comes(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let patience = Timespec { tv_sec: patient(PATIENCE).as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut polled, Some(&patience)).expect("poll") > 0 && polled[0].revents().contains(PollFlags::IN)
}
