//! cloison-linux
