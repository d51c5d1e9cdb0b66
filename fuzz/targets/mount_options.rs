//! Options of a mount: the later one wins, and what is not ours reaches the file system as it is.
#![no_main]

use cloison::plan::mount_options::{MountOptions, attribute_bits, names};
use cloison_linux::MountAttrFlags;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// One of ours by its place in the list, or any word.
#[derive(Debug, Arbitrary)]
enum Word<'a> {
    Ours(u8),
    Other(&'a str),
}

fuzz_target!(|words: Vec<Word<'_>>| {
    let ours: Vec<&str> = names().collect();
    let options: Vec<&str> = words
        .iter()
        .map(|word| match word {
            Word::Ours(place) => ours[usize::from(*place) % ours.len()],
            Word::Other(word) => word,
        })
        .collect();
    let parsed = MountOptions::parse(&options);
    let last = |yes: &str, no: &str| {
        options.iter().rev().find(|word| **word == yes || **word == no).map(|word| *word == yes)
    };
    assert_eq!(parsed.read_only, last("ro", "rw"));
    assert_eq!(parsed.bind, last("rbind", "bind"));
    let of_others: Vec<&str> =
        options.iter().copied().filter(|word| !word.is_empty() && !ours.contains(word)).collect();
    assert_eq!(parsed.data, of_others);
    for attributes in [parsed.attributes, parsed.recursive] {
        let access_time = MountAttrFlags::from_bits_retain(0x70);
        assert!((attributes.set & attributes.clear - access_time).is_empty(), "{options:?}: {attributes:?}");
        attribute_bits(attributes.set);
    }
    // Each word said twice says nothing new, but for changes of propagation, which are made one after the other.
    let twice = MountOptions::parse(&[options.as_slice(), options.as_slice()].concat());
    assert_eq!((twice.attributes, twice.recursive), (parsed.attributes, parsed.recursive), "{options:?}");
    assert_eq!(twice.legacy_flags(), parsed.legacy_flags(), "{options:?}");
});
