//! Compiles the protocols to what the client reads when it starts.

use std::path::Path;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=protocols");
    let protocols = protox::compile(["containerd.proto", "cri.proto"], ["protocols"])?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("protocols"), protocols.encode_to_vec())?;
    Ok(())
}
