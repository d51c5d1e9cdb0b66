//! What the scripts of engines ask an engine without a command of Debian's for it: Kubernetes' container runtime interface and containerd's own
//! services over gRPC, requests and answers as JSON; and the streams of `kubectl exec`, `attach` and `port-forward` over a websocket.

mod call;
mod stream;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "usage:
  cloison-engines-client call SOCKET SERVICE/METHOD [JSON]    one request (default {}), its answer on standard output
  cloison-engines-client stream URL [SEND [UNTIL]]            a stream as kubectl has it: sends SEND, ends when UNTIL is in the output
  cloison-engines-client forward URL SEND                     a forwarded port: sends SEND, prints what comes until the other side ends";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["call", socket, method] => call::call(socket, method, "{}").map(|()| 0),
        ["call", socket, method, request] => call::call(socket, method, request).map(|()| 0),
        ["stream", url] => stream::stream(url, None, None),
        ["stream", url, send] => stream::stream(url, Some(send), None),
        ["stream", url, send, until] => stream::stream(url, Some(send), Some(until)),
        ["forward", url, send] => stream::forward(url, send).map(|()| 0),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if arguments.len() < 2 { 2 } else { 255 })
        }
    }
}
