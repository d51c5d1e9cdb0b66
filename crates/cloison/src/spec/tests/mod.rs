//! How whole files are read and written.

mod engines;
mod example;
mod properties;
mod reading;
mod warnings;
