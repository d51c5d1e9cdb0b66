//! Whatever comes over the socket between runtime and init, from a process that is the container's already: it is a message or an
//! error, and no descriptor stays behind.
#![no_main]

use std::os::fd::AsFd;

use cloison::init::channel::{Failure, FromInit, ToInit};
use cloison_linux::{Errno, Linux, socket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packets: Vec<(bool, &[u8])>| {
    let (ours, theirs) = socket::pair().expect("two sockets");
    let descriptors = open_descriptors();
    for (with_descriptor, bytes) in packets.iter().take(8) {
        // Nothing is the end of the stream, and what is too long for a packet cannot be sent.
        if bytes.is_empty() || bytes.len() > 60_000 {
            continue;
        }
        let descriptor = with_descriptor.then(|| theirs.as_fd());
        socket::send(theirs.as_fd(), bytes, descriptor).expect("it fits");
        match FromInit::receive(&Linux, ours.as_fd()) {
            Ok(FromInit::Failed(failure)) => comes_back(&failure),
            Ok(FromInit::Process(_) | FromInit::Terminal(_)) => assert!(with_descriptor),
            Ok(_) | Err(Errno::PROTO) => {}
            Err(error) => panic!("{error}: {bytes:?}"),
        }
        socket::send(theirs.as_fd(), bytes, descriptor).expect("it fits");
        match ToInit::receive(&Linux, ours.as_fd()) {
            Ok(Some(_)) | Err(Errno::PROTO) => {}
            other => panic!("{other:?}: {bytes:?}"),
        }
    }
    assert_eq!(open_descriptors(), descriptors, "a descriptor stays behind");
});

/// A failure that is passed on arrives as it was, but for what is longer than any packet.
fn comes_back(failure: &Failure) {
    let (ours, theirs) = socket::pair().expect("two sockets");
    FromInit::send_failure(&Linux, theirs.as_fd(), failure).expect("it fits");
    match FromInit::receive(&Linux, ours.as_fd()) {
        Ok(FromInit::Failed(again)) => {
            if failure.to_string().len() < 4096 {
                assert_eq!(again, *failure);
            }
        }
        other => panic!("{failure:?} comes back as {other:?}"),
    }
}

/// The number that the next descriptor will have.
fn open_descriptors() -> i32 {
    use std::os::fd::AsRawFd;
    std::fs::File::open("/dev/null").expect("it is there").as_raw_fd()
}
