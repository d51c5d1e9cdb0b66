//! One call of gRPC over a Unix socket.

use std::error::Error;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use tokio::net::UnixStream;

/// The services' definitions, from `protocols/`.
const PROTOCOLS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/protocols"));

/// Sends `request`, the method's message as JSON, and prints what comes back as one line of JSON.
///
/// `method` is `SERVICE/METHOD`, where the service's package may be left out.
pub fn call(socket: &str, method: &str, request: &str) -> Result<(), Box<dyn Error>> {
    let method = find(method)?;
    let mut json = serde_json::Deserializer::from_str(request);
    let request = DynamicMessage::deserialize(method.input(), &mut json)?;
    json.end()?;
    let path = format!("http://localhost/{}/{}", method.parent_service().full_name(), method.name());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let answer = runtime.block_on(exchange(socket, &path, &request.encode_to_vec()))?;
    let answer = DynamicMessage::decode(method.output(), answer)?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false);
    let mut json = serde_json::Serializer::new(std::io::stdout());
    answer.serialize_with_options(&mut json, &options)?;
    println!();
    Ok(())
}

fn find(name: &str) -> Result<MethodDescriptor, Box<dyn Error>> {
    let pool = DescriptorPool::decode(PROTOCOLS)?;
    let (service, method) = name.split_once('/').ok_or("not SERVICE/METHOD")?;
    pool.services()
        .filter(|known| known.full_name() == service || known.name() == service)
        .find_map(|known| known.methods().find(|known| known.name() == method))
        .ok_or_else(|| format!("no method {name} in protocols/").into())
}

async fn exchange(socket: &str, path: &str, message: &[u8]) -> Result<Bytes, Box<dyn Error>> {
    let stream =
        UnixStream::connect(socket).await.map_err(|error| format!("cannot connect to {socket}: {error}"))?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // containerd's own services want one; the scripts' containers are in ctr's default.
        .header("containerd-namespace", "default")
        .body(())?;
    let (response, mut body) = client.ready().await?.send_request(request, false)?;
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0); // not compressed
    frame.put_u32(u32::try_from(message.len())?);
    frame.put_slice(message);
    body.send_data(frame.freeze(), true)?;

    let (head, mut body) = response.await?.into_parts();
    let mut answer = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        answer.extend_from_slice(&part);
    }
    // A call that fails at once has only one block of headers.
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    connection.abort();
    let status = |name| text(&trailers, name);
    match status("grpc-status").as_deref() {
        Some("0") => {}
        Some(code) => {
            return Err(format!("code {code}: {}", status("grpc-message").unwrap_or_default()).into());
        }
        None => return Err("no answer of gRPC".into()),
    }
    if answer.remaining() < 5
        || answer.get_u8() != 0
        || usize::try_from(answer.get_u32())? != answer.remaining()
    {
        return Err("not one message".into());
    }
    Ok(answer.freeze())
}

/// A header with its `%XX` resolved.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let raw = headers.get(name)?.as_bytes();
    let mut plain = Vec::new();
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            plain.push(byte);
            rest = &tail[2..];
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    Some(String::from_utf8_lossy(&plain).into_owned())
}
