//! Streams as kubelet's clients have them: one websocket, each message begins with the number of its channel.

use std::io::{self, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::error::ProtocolError;
use tungstenite::{Error, Message, WebSocket};

const PROTOCOL: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// How it ended, as JSON; for a forwarded port, which has two channels, what went wrong.
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Sends `send` to standard input, prints what comes until the other side ends, or `until` is in it. The command's exit code.
///
/// A `send` that begins with `COLUMNSxROWS:` sets the terminal's size first. The protocol cannot close standard input alone.
pub fn stream(url: &str, send: Option<&str>, until: Option<&str>) -> Result<u8, Box<dyn std::error::Error>> {
    let mut socket = connect(url)?;
    let mut input = send.unwrap_or_default();
    if let Some((size, rest)) = input.split_once(':')
        && let Some((columns, rows)) = size.split_once('x')
        && let (Ok(columns), Ok(rows)) = (columns.parse::<u16>(), rows.parse::<u16>())
    {
        let size = serde_json::json!({ "Width": columns, "Height": rows });
        socket.send(packet(RESIZE, size.to_string().as_bytes()))?;
        input = rest;
    }
    if !input.is_empty() {
        socket.send(packet(STDIN, input.as_bytes()))?;
    }
    let mut seen = Vec::new();
    while let Some(message) = receive(&mut socket)? {
        match message.split_first() {
            Some((&STDOUT, data)) => {
                io::stdout().write_all(data)?;
                seen.extend_from_slice(data);
                if until.is_some_and(|until| String::from_utf8_lossy(&seen).contains(until)) {
                    socket.close(None)?;
                    return Ok(0);
                }
            }
            Some((&STDERR, data)) => io::stderr().write_all(data)?,
            Some((&ERROR, status)) => return exit_code(status),
            _ => return Err(format!("unexpected: {message:?}").into()),
        }
        io::stdout().flush()?;
    }
    match until {
        Some(until) => Err(format!("ended without {until}").into()),
        // An attached stream's end has no status where the container ends first.
        None => Ok(0),
    }
}

/// Sends `send` to the one port of the URL, and prints what comes back.
pub fn forward(url: &str, send: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut socket = connect(url)?;
    // Both channels begin with the port's number.
    for channel in [0, 1] {
        match receive(&mut socket)?.as_deref() {
            Some([found, _, _]) if *found == channel => {}
            other => return Err(format!("channel {channel} does not begin with its port: {other:?}").into()),
        }
    }
    socket.send(packet(0, send.as_bytes()))?;
    while let Some(message) = receive(&mut socket)? {
        match message.split_first() {
            Some((0, data)) => io::stdout().write_all(data)?,
            Some((1, data)) if !data.is_empty() => return Err(String::from_utf8_lossy(data).into()),
            _ => {}
        }
    }
    Ok(())
}

fn connect(url: &str) -> Result<WebSocket<TcpStream>, Box<dyn std::error::Error>> {
    let url = url.replacen("http://", "ws://", 1);
    let mut request = url.clone().into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", PROTOCOL.parse()?);
    let uri: http::Uri = url.parse()?;
    let address = (uri.host().ok_or("a URL without a host")?, uri.port_u16().ok_or("a URL without a port")?);
    let (socket, _) = tungstenite::client(request, TcpStream::connect(address)?)?;
    Ok(socket)
}

fn packet(channel: u8, data: &[u8]) -> Message {
    let mut packet = vec![channel];
    packet.extend_from_slice(data);
    Message::binary(packet)
}

/// The next message that has any data, or nothing at the stream's end.
fn receive(socket: &mut WebSocket<TcpStream>) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error>> {
    loop {
        match socket.read() {
            // Each channel's beginning is an empty message.
            Ok(Message::Binary(data)) if data.len() > 1 => return Ok(Some(data.into())),
            Ok(Message::Text(data)) => return Ok(Some(data.as_bytes().to_vec())),
            // Some servers hang up without a word.
            Ok(Message::Close(_))
            | Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return Ok(None);
            }
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a `Status` of Kubernetes says of the command's end.
fn exit_code(status: &[u8]) -> Result<u8, Box<dyn std::error::Error>> {
    let status: Value = serde_json::from_slice(status)?;
    if status["status"] == "Success" {
        return Ok(0);
    }
    let causes = status["details"]["causes"].as_array();
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause["reason"] == "ExitCode")
        .and_then(|cause| cause["message"].as_str());
    match code {
        Some(code) => Ok(code.parse()?),
        None => Err(status["message"].as_str().unwrap_or("failed without a message").into()),
    }
}
